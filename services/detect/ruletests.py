"""Unit tests beside rules: `<name>.test.yml` says for which events the rules of `<name>.yml` fire.

    logsource: {product: linux, service: sshd}    # what the envelope of the events says
    positive: [...]                               # examples for which every rule must fire
    negative: [...]                               # examples for which none may

An example is an event, or for correlations a list of lines: an `event`, `at` which time it happens
(`90s`, `5m`; 0 if left out), how often it is repeated (`repeat`, `every`), and a `logsource` of its
own. `{n}` in a text of a repeated event is its number. What a correlation only counts needs no
example of its own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from services.detect.correlation.engine import Engine
from services.detect.correlation.extract import Extractor
from services.detect.correlation.firing import Matched
from services.detect.correlation.plan import make_plan
from services.detect.rules.load import TEST_SUFFIX, LoadReport, load_rules
from services.detect.rules.match import PlainMatcher
from services.detect.rules.model import LogSource, RefusedError
from services.detect.rules.yaml_tree import MAX_BYTES, documents, plain
from services.detect.shapes.shapes import shaped
from shared.clock import rfc3339
from shared.ids import derived_id

__all__ = ["Case", "TestRun", "junit", "run_tests"]

MAX_EVENTS = 20_000
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_SPAN = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_KEYS = frozenset({"logsource", "positive", "negative"})
_LINE_KEYS = frozenset({"at", "event", "repeat", "every", "logsource"})


@dataclass(frozen=True, slots=True)
class Case:
    """One example and what came of it; *detail* says what is wrong, if anything is."""

    file: str
    name: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        return not self.detail


@dataclass(frozen=True, slots=True)
class TestRun:
    """All examples of some places, the report of their rules, and rules without any example."""

    __test__ = False  # to pytest, which looks for names like this one

    cases: tuple[Case, ...]
    report: LoadReport
    untested: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Return whether every rule was loaded and every example came out as it says."""
        return not self.report.errors and all(case.passed for case in self.cases)


class _BadExampleError(Exception):
    """A test file says something that has no meaning."""


def run_tests(places: Iterable[Path]) -> TestRun:
    """Return what the test files under *places* (directories) gave."""
    folders = list(places)
    report = load_rules(folders)
    by_file: dict[str, list[str]] = {}
    named = {member for step in report.plan.steps for member in step.members}
    for rule in report.loaded:
        if rule.id not in named or rule.id not in report.plan.silent:
            by_file.setdefault(rule.path, []).append(rule.id)
    cases: list[Case] = []
    tested = set()
    for path in sorted(p for folder in folders for p in folder.rglob(f"*{TEST_SUFFIX}")):
        rules = path.with_name(path.name.removesuffix(TEST_SUFFIX) + ".yml")
        subjects = by_file.get(str(rules), [])
        tested.add(str(rules))
        if subjects:
            cases += _file(path, subjects, report)
        else:
            cases.append(Case(str(path), "rules", f"{rules.name} gives no rule to test"))
    return TestRun(tuple(cases), report, tuple(sorted(set(by_file) - tested)))


def _file(path: Path, subjects: Sequence[str], report: LoadReport) -> Iterator[Case]:
    try:
        content = _read(path)
        hint = LogSource.of(content.get("logsource") or {})
        stage = _Stage(subjects, report)
        examples = [(k, i, e) for k in ("positive", "negative")
                    for i, e in enumerate(content.get(k) or [], 1)]  # fmt: skip
    except (_BadExampleError, RefusedError, UnicodeDecodeError, OSError) as error:
        yield Case(str(path), "file", str(error))
        return
    if not examples:
        yield Case(str(path), "file", "holds no example")
    for kind, number, example in examples:
        try:
            fired = stage.fired(example, hint)
        except _BadExampleError as error:
            yield Case(str(path), f"{kind} {number}", str(error))
            continue
        wrong = [
            stage.title(subject)
            for subject in subjects
            if (subject in fired) != (kind == "positive")
        ]
        said = "did not fire" if kind == "positive" else "fired"
        detail = f"{said}: {', '.join(wrong)}" if wrong else ""
        yield Case(str(path), f"{kind} {number}", detail)


def _read(path: Path) -> Mapping[str, Any]:
    text = path.read_bytes()[: MAX_BYTES + 1].decode("utf-8-sig")
    found = [tree for tree in documents(text) if not isinstance(tree, RefusedError)]
    content = plain(found[0]) if found else None
    if not isinstance(content, dict):
        raise _BadExampleError("must be one map of logsource, positive and negative")
    if unknown := sorted(set(content) - _KEYS):
        raise _BadExampleError(f"unknown key {unknown[0]!r}")
    return content


class _Stage:
    """The rules that some subjects rest on, and nothing else."""

    def __init__(self, subjects: Sequence[str], report: LoadReport) -> None:
        steps = {step.rule.id: step for step in report.plan.steps}
        wanted: set[str] = set()
        pending = list(subjects)
        while pending:
            identity = pending.pop()
            if identity not in wanted:
                wanted.add(identity)
                pending += steps[identity].members if identity in steps else ()
        rules = [rule for rule in report.rules if rule.id in wanted]
        self._plan = make_plan(rules, [c for c in report.correlations if c.id in wanted])
        self._extractor = Extractor(self._plan, rules)
        self._matcher = PlainMatcher(rules)
        self._titles = {rule.id: rule.title for rule in report.loaded}

    def title(self, subject: str) -> str:
        return self._titles[subject]

    def fired(self, example: object, hint: LogSource) -> set[str]:
        """Return the ids of what fires for *example*."""
        fired: set[str] = set()
        matches: list[Matched] = []
        for number, (second, fields, source) in enumerate(_events(example, hint)):
            event = shaped(fields, source)
            instant = rfc3339(_BEGIN + timedelta(seconds=second))
            identity = str(derived_id("example", number))
            envelope = {"id": identity, "time": instant, "observed_time": instant}
            for match in self._matcher.match(event):
                fired.add(match.rule.id)
                matches += self._extractor.matches(match.rule.id, event, envelope, 0)
        engine = Engine(self._plan)
        engine.feed(matches, 1)
        return fired | {firing.step.rule.id for firing in engine.finish().firings}


def _events(example: object, hint: LogSource) -> Iterator[tuple[int, dict[str, Any], LogSource]]:
    """Yield (second, fields, logsource) of every event of *example*."""
    if isinstance(example, dict):
        yield 0, example, hint
        return
    if not isinstance(example, list) or not example:
        raise _BadExampleError("an example must be an event or a list of lines")
    made = 0
    for line in example:
        if not isinstance(line, dict) or not isinstance(line.get("event"), dict):
            raise _BadExampleError("a line must be a map with an 'event'")
        if unknown := sorted(set(line) - _LINE_KEYS):
            raise _BadExampleError(f"unknown key {unknown[0]!r} in a line")
        repeat = line.get("repeat", 1)
        made += repeat if isinstance(repeat, int) and repeat > 0 else MAX_EVENTS + 1
        if made > MAX_EVENTS:
            raise _BadExampleError(f"'repeat' must be a number, up to {MAX_EVENTS} in all")
        source = LogSource.of(line["logsource"]) if "logsource" in line else hint
        at, every = _seconds(line.get("at", "0s")), _seconds(line.get("every", "1s"))
        for number in range(repeat):
            yield at + number * every, _numbered(line["event"], str(number)), source


def _seconds(written: object) -> int:
    found = _SPAN.fullmatch(str(written))
    if found is None:
        raise _BadExampleError(f"{written!r} is no time: write 90s, 5m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def _numbered(value: Any, number: str) -> Any:
    match value:
        case str():
            return value.replace("{n}", number)
        case dict():
            return {key: _numbered(inner, number) for key, inner in value.items()}
        case list():
            return [_numbered(inner, number) for inner in value]
        case _:
            return value


def junit(run: TestRun) -> bytes:
    """Return *run* as a JUnit report: a test case an example, and one for each rejected rule."""
    failed = sum(not case.passed for case in run.cases)
    suite = Xml.Element(
        "testsuite", name="tocsin rules test", tests=str(len(run.cases) + len(run.report.errors)),
        failures=str(failed), errors=str(len(run.report.errors)),
    )  # fmt: skip
    for case in run.cases:
        element = Xml.SubElement(suite, "testcase", classname=case.file, name=case.name)
        if not case.passed:
            Xml.SubElement(element, "failure", message=case.detail)
    for error in run.report.errors:
        element = Xml.SubElement(suite, "testcase", classname=error.path, name=f"line {error.line}")
        Xml.SubElement(element, "error", message=error.reason)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(suite)
