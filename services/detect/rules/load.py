"""Rules from directories: every document gives a rule or a reason, one never costs another."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.detect.correlation.model import Correlation
from services.detect.correlation.plan import NO_PLAN, Plan, make_plan

from .model import Rule, RuleError
from .parse import parse_rules
from .values import Placeholders
from .yaml_tree import MAX_BYTES

RETIRED = "retired.rules.yml"  # in a managed folder: a list of ids that are in force nowhere
TEST_SUFFIX = ".test.yml"  # examples that lie beside the rules of a pack


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of every document found: documents = rules + correlations + errors + skipped."""

    rules: tuple[Rule, ...]
    errors: tuple[RuleError, ...]
    skipped: tuple[RuleError, ...]
    files: int
    correlations: tuple[Correlation, ...] = ()
    plan: Plan = NO_PLAN

    @property
    def loaded(self) -> tuple[Rule | Correlation, ...]:
        """Return all that was loaded."""
        return (*self.rules, *self.correlations)

    @property
    def documents(self) -> int:
        """Return how many documents were looked at."""
        found = (self.rules, self.correlations, self.errors, self.skipped)
        return sum(map(len, found))


Document = Rule | Correlation | RuleError
ReadFiles = dict[Path, tuple[object, tuple[Document, ...]]]
"""What files held when they were read last, so that only changed ones are read again."""


def load_rules(
    places: Iterable[Path | str],
    placeholders: Placeholders | None = None,
    read: ReadFiles | None = None,
) -> LoadReport:
    """Return what the rule files under *places* (directories or files) hold.

    A folder with a file RETIRED is managed: its rules stand for those with the same id in places
    after it, and what the file lists is skipped everywhere. Files that stand in *read* unchanged
    are not parsed again; it is brought up to date.
    """
    places = list(places)
    retired, own = _managed(places)
    known: ReadFiles = {} if read is None else read
    before = dict(known)
    known.clear()
    rules: dict[str, Rule | Correlation] = {}
    errors: list[RuleError] = []
    skipped: list[RuleError] = []
    files = 0
    for path in rule_files(places):
        if path.name == RETIRED:
            continue
        files += 1
        known[path] = _known_or_read(path, placeholders, before)
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
    plan = make_plan(
        [found for found in rules.values() if isinstance(found, Rule)],
        [found for found in rules.values() if isinstance(found, Correlation)],
    )
    return LoadReport(
        rules=tuple(found for found in rules.values() if isinstance(found, Rule)),
        errors=(*errors, *plan.errors),
        skipped=tuple(skipped),
        files=files,
        correlations=tuple(step.rule for step in plan.steps),
        plan=plan,
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
                if name.endswith((".yml", ".yaml")) and not name.endswith(TEST_SUFFIX):
                    yield Path(folder, name)


def _known_or_read(
    path: Path, placeholders: Placeholders | None, before: ReadFiles
) -> tuple[object, tuple[Document, ...]]:
    try:
        found = path.stat()
        state: object = (found.st_mtime_ns, found.st_size, found.st_ino)
    except OSError:
        state = None
    if state is not None and path in before and before[path][0] == state:
        return before[path]
    return state, tuple(_read(path, placeholders))


def _read(path: Path, placeholders: Placeholders | None) -> Iterator[Document]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        yield RuleError(str(path), 1, f"cannot be read: {error.strerror}")
        return
    if len(content) > MAX_BYTES:
        yield RuleError(str(path), 1, f"file is larger than {MAX_BYTES // 1024} KiB")
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield RuleError(str(path), content.count(b"\n", 0, error.start) + 1, "not UTF-8 text")
        return
    yield from parse_rules(text, str(path), placeholders)
