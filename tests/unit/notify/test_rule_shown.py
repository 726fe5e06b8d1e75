"""Rules as the API shows them: data that reads back to the same rule, and a sentence."""

import pytest

from services.notify.obligations.deadlines import Rule
from services.notify.obligations.regime_file import shipped_regimes
from services.notify.obligations.regimes import CLOCKS, submitted
from services.notify.obligations.rule_file import parse_rule
from services.notify.obligations.rule_shown import condition_words, rule_json, rule_sentence
from shared.yaml_lines import node_of, read

pytestmark = pytest.mark.unit

OTHERS = [
    "{business_hours: {hours: 8, tz: Europe/Berlin, calendar: de, open: '08:30', close: '17:00'}}",
    "{latest_of: [{elapsed_hours: 1}, {clock: detected, months: {months: 2, tz: UTC}}]}",
    "{calendar_days: {days: 3, tz: Asia/Tokyo, count: inclusive, roll: next_working_day,"
    " calendar: jp}}",
    "{year_end_plus_days: {days: 60, tz: America/New_York}}",
]


def _rules() -> list[Rule]:
    shipped = [phase.rule for row in shipped_regimes().rows for phase in row.phases]
    again = [p.again for row in shipped_regimes().rows for p in row.phases if p.again]
    return shipped + again + [parse_rule(read(text), "t", CLOCKS) for text in OTHERS]


def test_every_rule_reads_back_from_what_is_shown() -> None:
    clocks = [*CLOCKS, *(submitted(p.id) for r in shipped_regimes().rows for p in r.phases)]
    for rule in _rules():
        assert parse_rule(node_of(rule_json(rule)), "shown", clocks) == rule


def test_every_rule_is_a_sentence_of_people_not_of_python() -> None:
    for rule in _rules():
        words = rule_sentence(rule, "aware")
        assert not words[0].islower()
        assert words.endswith(".")
        assert not any(trace in words for trace in ("(hours=", "frozenset", "None", "_of"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{elapsed_hours: 72}",
         "72 hours after the instant 'aware', weekends and holidays included."),
        ("{elapsed_hours: 1}",
         "1 hour after the instant 'aware', weekends and holidays included."),
        ("{business_days: {days: 4, tz: America/New_York, calendar: us-federal, cutoff: '17:30'}}",
         "17:30 of the 4th business day after the instant 'aware' in America/New_York"
         " (the calendar us-federal)."),
        ("{without_undue_delay: {internal_target_days: 14}}",
         "Without undue delay after the instant 'aware'; 14 days is the operator's own target,"
         " not law."),
        ("{earliest_of: [{clock: classified_major, elapsed_hours: 4},"
         " {elapsed_hours: 24, lapses_after: classified_major}]}",
         "The earlier of: 4 hours after the instant 'classified_major', weekends and holidays"
         " included; or 24 hours after the instant 'aware', weekends and holidays included, unless"
         " the instant 'classified_major' comes after that."),
        ("{calendar_days: {days: 2, tz: authority}}",
         "The end of the 2nd calendar day after the instant 'aware' in the authority's time"
         " zone."),
    ],
)  # fmt: skip
def test_sentences(rule: str, words: str) -> None:
    assert rule_sentence(parse_rule(read(rule), "t", CLOCKS), "aware") == words


def test_conditions_in_words() -> None:
    row = next(row for row in shipped_regimes().rows if row.id == "gdpr_33_1")
    assert [condition_words(part) for part in row.trigger.when] == [
        "data subject regions includes one of EEA, EU", "personal data",
    ]  # fmt: skip
