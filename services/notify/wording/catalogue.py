"""Pure: the templates and the required content in force, and which of them a message takes."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

__all__ = [
    "CHANNELS", "Catalogue", "ContentField", "Kind", "Template", "TemplateRef", "is_locale",
    "locales",
]  # fmt: skip

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?", re.ASCII)
CHANNELS = ("email", "webhook", "pdf")
BASE_LOCALE = "en"


class Kind(StrEnum):
    """What a template is for."""

    NOTICE = "notice"
    CORRECTION = "correction"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """Which words something was rendered from; the digest says it exactly."""

    id: str
    version: str
    digest: str
    locale: str

    def shown(self) -> dict[str, str]:
        """Return it as the API shows it."""
        return {"id": self.id, "version": self.version, "digest": self.digest,
                "locale": self.locale}  # fmt: skip


@dataclass(frozen=True, kw_only=True)  # no slots: its reference is reckoned once
class Template:
    """One text in one language, for the channels and regimes that it names; none named is: all."""

    id: str
    version: str
    kind: Kind
    locale: str
    subject: str
    text: str
    channels: tuple[str, ...] = CHANNELS
    regimes: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    standing: Mapping[str, str] = field(default_factory=dict)
    """What it says where nobody wrote something else."""
    origin: str = "shipped"
    uses: frozenset[str] = frozenset()

    def document(self) -> dict[str, Any]:
        """Return all that a rendering depends on."""
        return {
            "id": self.id,
            "version": self.version,
            "kind": self.kind.value,
            "locale": self.locale,
            "channels": list(self.channels),
            "regimes": list(self.regimes),
            "requires": list(self.requires),
            "subject": self.subject,
            "text": self.text,
            "standing": dict(self.standing),
        }

    @cached_property
    def ref(self) -> TemplateRef:
        """Return what is recorded with each rendering."""
        text = json.dumps(self.document(), sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return TemplateRef(self.id, self.version, digest, self.locale)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentField:
    """One thing that a regime wants to be told; ``sources`` name the facts that can say it."""

    id: str
    labels: Mapping[str, str]
    asks: str = ""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything loaded; what came later goes before what came earlier."""

    version: str
    fields: Mapping[str, ContentField]
    asks: Mapping[tuple[str, str], str]
    """By (regime, field): what that regime asks of it, in more words."""
    templates: tuple[Template, ...]
    default_locale: str = BASE_LOCALE

    def choose(
        self, kind: Kind, channel: str, locale: str | None, regimes: Sequence[str] = ()
    ) -> Template:
        """Return the template for a message under *regimes*, the most urgent first.

        The language counts more than the regime; a template of one of the regimes more than one of
        all. There is always one: English ships for every kind.
        """
        fitting = [t for t in self.templates if t.kind is kind and channel in t.channels]
        for wanted in locales(locale, self.default_locale):
            spoken = [t for t in reversed(fitting) if t.locale == wanted]
            for regime in regimes:
                for template in spoken:
                    if regime in template.regimes:
                        return template
            for template in spoken:
                if not template.regimes:
                    return template
        raise LookupError(f"no template of kind {kind} by {channel}")

    def label(self, name: str, locale: str = BASE_LOCALE) -> str:
        """Return what *name* is called in *locale*, or in English."""
        known = self.fields.get(name)
        labels = known.labels if known else {}
        for wanted in locales(locale, BASE_LOCALE):
            if wanted in labels:
                return labels[wanted]
        return name.replace("_", " ").capitalize()

    def asked(self, regime: str, name: str) -> str:
        """Return what *regime* asks for under *name*; "" where nothing more is known."""
        known = self.fields.get(name)
        return self.asks.get((regime, name)) or (known.asks if known else "")

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the facts that can say *name*."""
        known = self.fields.get(name)
        return known.sources if known else ()


def is_locale(text: str) -> bool:
    """Tell whether *text* is a language as templates name it: ``de``, ``pt-BR``."""
    return _LOCALE.fullmatch(text) is not None


def locales(*wanted: str | None) -> Iterator[str]:
    """Yield the languages to try: each wanted one, without its region, and English at last."""
    return iter(dict.fromkeys(_chain(wanted)))


def _chain(wanted: Iterable[str | None]) -> Iterator[str]:
    for locale in wanted:
        if locale:
            yield locale
            yield locale.partition("-")[0]
    yield BASE_LOCALE
