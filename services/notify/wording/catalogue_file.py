"""Templates and required content from files: taken whole, or refused with file, line and reason."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from services.notify.inventory import NOTICE
from services.notify.wording.catalogue import (
    CHANNELS,
    Catalogue,
    ContentField,
    Kind,
    Template,
    is_locale,
)
from services.notify.wording.facts import SOURCES
from services.notify.wording.sandbox import TemplateRefusedError, check
from shared.errors import UserError
from shared.yaml_lines import Fields, LineError, Node, Table, fields, read

__all__ = [
    "WHY", "WordingError", "check_wording", "load_wording", "parse_wording", "shipped_wording",
]  # fmt: skip

WHY = ("not_affected", "no_incident", "merged")
_NOTICE_STANDING = ("actions_taken", "actions_taken_contained", "suggested_actions", "next_update")
_COMMON = frozenset({"number", "operator_name", "tenant_name"})
_VARIABLES: Mapping[Kind, frozenset[str]] = {
    Kind.NOTICE: _COMMON
    | {"services", "regions", "data_classes", "confidence", "further", *NOTICE},
    Kind.CORRECTION: _COMMON | {"told_at", "supersedes", "statement"},
    Kind.FORM: frozenset(
        {"number", "operator_name", "regime_title", "phase", "period", "recipient", "source",
         "due_at", "clock", "clock_at"}
    ),
}  # fmt: skip
_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    Kind.NOTICE: (*NOTICE, "further"),
    Kind.CORRECTION: ("statement", "supersedes"),
    Kind.FORM: (),
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,79}", re.ASCII)


class WordingError(UserError):
    """Templates that cannot be taken; the message says where and why."""


Refuse = Callable[[LineError], None]
"""Told of a row that cannot be taken; raises, unless the others are to be looked at as well."""


def parse_wording(text: str, base: Catalogue, regimes: Collection[str], origin: str) -> Catalogue:
    """Return *base* with what *text* adds or replaces; LineError with line and reason."""
    return _parsed(text, base, regimes, origin, _raise)


def _raise(error: LineError) -> None:
    raise error


def _parsed(
    text: str, base: Catalogue, regimes: Collection[str], origin: str, refuse: Refuse
) -> Catalogue:
    top = fields(read(text), "wording", ("version", "fields", "asks", "templates"))
    version = top.text("version")
    known = dict(base.fields)

    def take_field(node: Node) -> None:
        one = _field(node)
        known[one.id] = one

    asks = dict(base.asks)
    made: dict[tuple[str, str], Template] = {}

    def take_template(node: Node) -> None:
        template, line = _template(node, version, regimes, known, origin)
        if (template.id, template.locale) in made:
            raise LineError(line, f"template {template.id} stands twice in {template.locale}")
        made[template.id, template.locale] = template

    for key, take in (
        ("fields", take_field),
        ("asks", lambda node: asks.update(_asks(node, regimes, known))),
        ("templates", take_template),
    ):
        for node in top.items(key):
            try:
                take(node)
            except LineError as error:
                refuse(error)
    kept = tuple(t for t in base.templates if (t.id, t.locale) not in made)
    return replace(
        base,
        version=f"{base.version}+{version}" if base.version else version,
        fields=known,
        asks=asks,
        templates=(*kept, *made.values()),
    )


@cache
def shipped_wording(regimes: frozenset[str]) -> Catalogue:
    """Return the templates and fields that come with Tocsin."""
    folder = files("services.notify.wording").joinpath("shipped")
    found = Catalogue(version="", fields={}, asks={}, templates=())
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yml")):
        text = folder.joinpath(name).read_text("utf-8")
        version = found.version
        found = parse_wording(text, found, regimes, "shipped")
        found = replace(found, version=version or found.version)  # all of one release
    return found


def load_wording(
    folder: Path | None, regimes: Iterable[str], default_locale: str = "en"
) -> Catalogue:
    """Return the shipped wording with the ``*.yml`` of *folder* over it, in order of their names.

    WordingError for a file that cannot be taken, with its line, and for a folder without any.
    """
    ids = frozenset(regimes)
    found = replace(shipped_wording(ids), default_locale=default_locale)
    for path in _files(folder) if folder is not None else ():
        try:
            found = parse_wording(_text(path), found, ids, path.name)
        except LineError as error:
            raise WordingError(f"{path}:{error.line}: {error.why}") from error
    return found


def check_wording(folder: Path, regimes: Iterable[str]) -> tuple[Catalogue, list[str]]:
    """Return what can be taken of *folder*, and of each row that cannot file, line and reason.

    WordingError where there is nothing to look at.
    """
    ids = frozenset(regimes)
    found, faults = shipped_wording(ids), list[str]()
    for path in _files(folder):
        bad: list[LineError] = []
        try:
            found = _parsed(_text(path), found, ids, path.name, bad.append)
        except LineError as error:  # of the file as a whole
            bad.append(error)
        except WordingError as error:
            faults.append(str(error))
        faults += [f"{path}:{one.line}: {one.why}" for one in sorted(bad, key=lambda e: e.line)]
    return found, faults


def _files(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.yml")) if folder.is_dir() else []
    if not paths:
        raise WordingError(f"{folder}: there is no folder with templates (*.yml)")
    return paths


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WordingError(f"{path}: cannot be read: {error}") from error


def _field(node: Node) -> ContentField:
    row = fields(node, "field", ("id", "label", "asks", "from"))
    name = _named(row, "id", "field")
    labels = row.table("label")
    if not isinstance(labels, Table):
        raise LineError(row.line_of("label"), f"field {name}: label is a table by language")
    spoken = Fields(labels, f"field {name}: label")
    for locale, value in labels.entries.items():
        if not is_locale(locale):
            raise LineError(value.line, f"field {name}: {locale!r} is no language like de or pt-BR")
    if "en" not in labels.entries:
        raise LineError(labels.line, f"field {name} has no label in English")
    for source, line in row.texts("from"):
        if source not in SOURCES:
            raise LineError(line, f"field {name}: {source!r} is none of {', '.join(SOURCES)}")
    return ContentField(
        id=name,
        labels={locale: spoken.text(locale) for locale in labels.entries},
        asks=row.text_or_none("asks") or "",
        sources=tuple(source for source, _ in row.texts("from")),
    )


def _asks(
    node: Node, regimes: Collection[str], known: Mapping[str, ContentField]
) -> dict[tuple[str, str], str]:
    row = fields(node, "asks", ("regime", "fields"))
    regime = row.text("regime")
    if regime not in regimes:
        raise LineError(row.line_of("regime"), f"there is no regime {regime!r}")
    table = row.table("fields")
    if not isinstance(table, Table):
        raise LineError(row.line, f"asks of {regime}: fields is a table by field")
    words = Fields(table, f"asks of {regime}")
    found: dict[tuple[str, str], str] = {}
    for name, value in table.entries.items():
        if name not in known:
            raise LineError(value.line, f"asks of {regime}: there is no field {name!r}")
        found[regime, name] = words.text(name)
    return found


def _template(
    node: Node,
    version: str,
    regimes: Collection[str],
    known: Mapping[str, ContentField],
    origin: str,
) -> tuple[Template, int]:
    keys = ("id", "version", "kind", "locale", "channels", "regimes", "requires", "subject", "text",
            "standing")  # fmt: skip
    row = fields(node, "template", keys)
    name = _named(row, "id", "template")
    what = f"template {name}"
    kind = _one_of(row, "kind", tuple(Kind), what)
    locale = row.text("locale")
    if not is_locale(locale):
        raise LineError(row.line_of("locale"), f"{what}: {locale!r} is no language like de, pt-BR")
    for key, allowed in (("channels", CHANNELS), ("regimes", regimes), ("requires", known)):
        for text, line in row.texts(key):
            if text not in allowed:
                raise LineError(line, f"{what}: {key}: there is no {text!r}")
    requires = tuple(text for text, _ in row.texts("requires"))
    if requires and kind != Kind.NOTICE:
        raise LineError(row.line_of("requires"), f"{what}: only a notice requires fields")
    kind = Kind(kind)
    names = _VARIABLES[kind] | set(requires)
    uses = _checked(row, "subject", names, what) | _checked(row, "text", names, what)
    for needed in (*_NEEDED[kind], *requires):
        if needed not in uses:
            raise LineError(row.line_of("text"), f"{what} never says {needed}")
    return Template(
        id=name,
        version=row.text_or_none("version") or version,
        kind=kind,
        locale=locale,
        subject=row.text("subject"),
        text=row.text("text"),
        channels=tuple(text for text, _ in row.texts("channels")) or CHANNELS,
        regimes=tuple(text for text, _ in row.texts("regimes")),
        requires=requires,
        standing=_standing(row, kind, what),
        origin=origin,
        uses=uses,
    ), row.line


def _checked(row: Fields, key: str, names: Set[str], what: str) -> frozenset[str]:
    text = row.text(key)
    if key == "subject" and "\n" in text:
        raise LineError(row.line_of(key), f"{what}: a subject is one line")
    try:
        return check(text, names)
    except TemplateRefusedError as error:
        # The text of a block begins in the line below its key.
        line = row.line_of(key) + (error.line if "\n" in text else 0)
        raise LineError(line, f"{what}: {key}: {error.why}") from None


def _standing(row: Fields, kind: Kind, what: str) -> dict[str, str]:
    node = row.table("standing")
    if kind is Kind.FORM:
        if node is not None:
            raise LineError(row.line_of("standing"), f"{what}: a form has no standing text")
        return {}
    keys = _NOTICE_STANDING if kind is Kind.NOTICE else WHY
    if node is None:
        raise LineError(row.line, f"{what} has no standing text ({', '.join(keys)})")
    given = fields(node, f"{what}: standing", keys)
    found = {key: given.text_or_none(key) or "" for key in keys}
    for key in () if kind is Kind.NOTICE else keys:
        if not found[key]:
            raise LineError(given.line, f"{what}: standing has no {key}")
    return found


def _one_of(row: Fields, key: str, known: Sequence[str], what: str) -> str:
    text = row.text(key)
    if text not in known:
        raise LineError(row.line_of(key), f"{what}: {key} {text!r} is none of {', '.join(known)}")
    return text


def _named(row: Fields, key: str, what: str) -> str:
    text = row.text(key)
    if not _NAME.fullmatch(text):
        raise LineError(row.line_of(key), f"{what}: {text!r} is no name of a-z, 0-9 and _")
    return text
