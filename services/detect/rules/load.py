"""Rules from folders and archives: a document gives a rule or a reason, none costs another."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.detect.correlation.model import Correlation
from services.detect.correlation.plan import NO_PLAN, Plan, make_plan

from .archive import SUFFIX as ARCHIVE_SUFFIX
from .archive import read_archive
from .cache import RuleCache
from .filters import apply_filters
from .model import Filter, Rule, RuleError
from .parse import Document, parse_rules
from .placeholders import FILE as PLACEHOLDERS_FILE
from .placeholders import read_placeholders
from .values import Placeholders
from .yaml_tree import MAX_BYTES

RETIRED = "retired.rules.yml"  # in a managed folder: a list of ids that are in force nowhere
SUFFIXES = (".yml", ".yaml")
TEST_SUFFIX = ".test.yml"  # examples that lie beside the rules of a pack
NO_RULES = (RETIRED, PLACEHOLDERS_FILE)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of every document found.

    documents = rules + correlations + filters + errors + skipped; *rules* are narrowed by filters,
    *whole* are the same before that. *placeholders*: values that the files gave names.
    """

    rules: tuple[Rule, ...]
    errors: tuple[RuleError, ...]
    skipped: tuple[RuleError, ...]
    files: int
    correlations: tuple[Correlation, ...] = ()
    plan: Plan = NO_PLAN
    filters: tuple[Filter, ...] = ()
    whole: tuple[Rule, ...] = ()
    placeholders: Placeholders = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[RuleError, ...]:
        """Return what is in force and yet probably not meant so."""
        return tuple(RuleError(f.path, f.line, f.warning) for f in self.filters if f.warning)

    @property
    def loaded(self) -> tuple[Rule | Correlation, ...]:
        """Return all that can fire."""
        return (*self.rules, *self.correlations)

    @property
    def documents(self) -> int:
        """Return how many documents were looked at."""
        found = (self.rules, self.correlations, self.filters, self.errors, self.skipped)
        return sum(map(len, found))


ReadFiles = dict[Path, tuple[object, tuple[Document, ...]]]
"""What files held when they were read last, so that only changed ones are read again."""


def load_rules(
    places: Iterable[Path | str],
    placeholders: Placeholders | None = None,
    read: ReadFiles | None = None,
    cache: RuleCache | None = None,
) -> LoadReport:
    """Return what the rule files under *places* (directories, zip archives or files) hold.

    A folder with a file RETIRED is managed: its rules stand for those with the same id in places
    after it, and what the file lists is skipped everywhere. Files that stand in *read* unchanged
    are not parsed again, and it is brought up to date; nor are texts that *cache* knows. Values of
    *placeholders* come before those of files PLACEHOLDERS_FILE.
    """
    places = list(places)
    retired, own = _managed(places)
    known: ReadFiles = {} if read is None else read
    before = dict(known)
    known.clear()
    paths = list(rule_files(places))
    given, unread = read_placeholders(path for path in paths if path.name == PLACEHOLDERS_FILE)
    values = {**given, **(placeholders or {})}
    marked = hash(tuple(sorted((name, *each) for name, each in values.items())))
    rules: dict[str, Rule | Correlation | Filter] = {}
    errors: list[RuleError] = list(unread)
    skipped: list[RuleError] = []
    files = 0
    for path in paths:
        if path.name in NO_RULES:
            continue
        files += 1
        known[path] = _known_or_read(path, values, marked, before, cache)
        for found in known[path][1]:
            if isinstance(found, RuleError):
                (skipped if found.unsupported else errors).append(found)
            elif found.id in retired:
                skipped.append(RuleError(found.path, found.line, "retired", unsupported=True))
            elif found.id in rules and found.id in own:
                reason = "another revision of this rule is in force"
                skipped.append(RuleError(found.path, found.line, reason, unsupported=True))
            elif found.id in rules:
                reason = f"id {found.id} is already used by {rules[found.id].path}"
                errors.append(RuleError(found.path, found.line, reason))
            else:
                rules[found.id] = found
    correlations = [found for found in rules.values() if isinstance(found, Correlation)]
    filters = [found for found in rules.values() if isinstance(found, Filter)]
    whole = tuple(found for found in rules.values() if isinstance(found, Rule))
    narrowed, unused = apply_filters(
        whole,
        [name for found in correlations for name in (found.id, found.name) if name],
        filters,
    )
    for error in unused:
        (skipped if error.unsupported else errors).append(error)
    without = {(error.path, error.line) for error in unused}
    plan = make_plan(narrowed, correlations)
    return LoadReport(
        rules=narrowed,
        errors=(*errors, *plan.errors),
        skipped=tuple(skipped),
        files=files,
        correlations=tuple(step.rule for step in plan.steps),
        plan=plan,
        filters=tuple(each for each in filters if (each.path, each.line) not in without),
        whole=whole,
        placeholders=values,
    )


def _managed(places: Iterable[Path | str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ids that are retired, and those that have a revision of their own."""
    retired: set[str] = set()
    own: set[str] = set()
    for place in places:
        listed = Path(place, RETIRED)
        if listed.is_file():
            retired |= {line.strip("- \n") for line in listed.read_text("utf-8").splitlines()}
            own |= {path.stem for path in Path(place).glob("*.yml") if path.name != RETIRED}
    return frozenset(retired), frozenset(own)


def rule_files(places: Iterable[Path | str]) -> Iterator[Path]:
    """Yield the rule files under *places*, always in the same order."""
    for place in places:
        if not os.path.isdir(place):
            yield Path(place)
            continue
        for folder, subfolders, names in os.walk(place):
            # A mounted ConfigMap keeps the files a second time in a folder named ..<timestamp>.
            subfolders[:] = sorted(name for name in subfolders if not name.startswith(".."))
            for name in sorted(names):
                if name.endswith((*SUFFIXES, ARCHIVE_SUFFIX)) and not name.endswith(TEST_SUFFIX):
                    yield Path(folder, name)


def rule_texts(path: Path) -> Iterator[tuple[str, str] | RuleError]:
    """Yield (name, text) of a rule file, or of each one in an archive, or why there is none."""
    if path.suffix == ARCHIVE_SUFFIX:
        for member in read_archive(path, SUFFIXES):
            if isinstance(member, RuleError):
                yield member
            elif not member[0].endswith((TEST_SUFFIX, RETIRED)):
                yield _text(*member)
        return
    try:
        with path.open("rb") as file:
            yield _text(str(path), file.read(MAX_BYTES + 1))
    except OSError as error:
        yield RuleError(str(path), 1, f"cannot be read: {error.strerror}")


def _known_or_read(
    path: Path,
    placeholders: Placeholders,
    marked: int,
    before: ReadFiles,
    cache: RuleCache | None,
) -> tuple[object, tuple[Document, ...]]:
    try:
        found = path.stat()
        state: object = (found.st_mtime_ns, found.st_size, found.st_ino, marked)
    except OSError:
        state = None
    if state is not None and path in before and before[path][0] == state:
        return before[path]
    return state, tuple(_read(path, placeholders, cache))


def _read(path: Path, placeholders: Placeholders, cache: RuleCache | None) -> Iterator[Document]:
    for found in rule_texts(path):
        if isinstance(found, RuleError):
            yield found
        elif Path(found[0]).name == PLACEHOLDERS_FILE:
            reason = "values of placeholders lie beside an archive, not in it"
            yield RuleError(found[0], 1, reason, unsupported=True)
        elif cache is None:
            yield from parse_rules(found[1], found[0], placeholders)
        else:
            yield from cache.rules(found[1], found[0], placeholders)


def _text(name: str, content: bytes) -> tuple[str, str] | RuleError:
    if len(content) > MAX_BYTES:
        return RuleError(name, 1, f"file is larger than {MAX_BYTES // 1024} KiB")
    try:
        return name, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return RuleError(name, content.count(b"\n", 0, error.start) + 1, "not UTF-8 text")
