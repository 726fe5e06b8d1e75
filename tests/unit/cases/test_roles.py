"""Who may do what in cases: §7 of the domain reference, line by line, over all commands and routes.

The table is written out by hand; the rules, and the guards of the routes, have to agree with it.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from pydantic import SecretStr

from services.cases.app import create_app
from services.cases.domain.workflow import RULES
from services.cases.evidence.domain.rules import RULES as EVIDENCE_RULES
from services.cases.moves import SYSTEM_ONLY
from services.cases.review.domain.rules import RULES as REVIEW_RULES
from services.cases.settings import Settings
from shared.auth import Role
from tests.contract.test_routes_are_guarded import routes_of
from tests.support.sealing import master_key

pytestmark = pytest.mark.unit

NOTES = {"add-note"}
INDICATORS = {"add-indicator", "assess-indicator", "classify-indicator"}
ACTIONS = {"record-action", "update-action", "add-recommendation", "decide-recommendation"}
LINKS = {"link-incident", "unlink-incident"}
ACCESS = {"restrict", "lift-restriction", "grant-access", "revoke-access"}
CLOCKS = {"record-clock", "correct-clock"}
TEAM = NOTES | INDICATORS | ACTIONS | LINKS | {"break-glass"}
SEVERITY = {"set-severity", "set-priority"}
ITEMS = {"create-improvement-item", "reschedule-improvement-item", "complete-improvement-item"}
REVIEWING = ITEMS | {"record-summary", "record-lesson", "evaluate-response"}
CUSTODY = {
    "register", "collect", "seal", "transfer-custody", "record-access", "analyse-copy",
    "verify-integrity",
}  # fmt: skip

# §7, column "may", for what cases holds: of an incident, of a review, of an item of evidence.
MAY: dict[Role, tuple[set[str], set[str], set[str]]] = {
    Role.SERVICE_TEAM: (
        {
            "open", "escalate", "dismiss-at-triage", "record-summary", "set-scope", "contain",
            "record-root-cause", "draft-recovery-plan", "eradicate", "recover", "approve-lowering",
            "report-containment-loss",
        } | SEVERITY | TEAM,
        REVIEWING | {"submit"},
        set(),
    ),
    Role.SECURITY_RESPONSE: (
        {
            "open", "form-v-team", "add-v-team-member", "remove-v-team-member", "record-summary",
            "confirm", "dismiss", "retract-confirmation", "set-scope", "contain",
            "report-containment-loss", "record-root-cause", "draft-recovery-plan",
            "approve-recovery-plan", "eradicate", "recover", "start-review", "close", "reopen",
            "declare-no-customers-affected", "merge-into", "unmerge", "split", "approve-lowering",
        } | SEVERITY | TEAM | CLOCKS | ACCESS,
        REVIEWING | {"freeze-timeline", "submit", "send-back", "sign-off"},
        CUSTODY,
    ),
    Role.INCIDENT_COMMUNICATIONS: (
        {"open", "escalate", "record-summary", "report-containment-loss"} | TEAM,
        REVIEWING,
        set(),
    ),
    Role.SUBJECT_MATTER_EXPERT: (TEAM, REVIEWING, set()),
    Role.LEGAL: (
        {"reopen", "break-glass", "place-legal-hold", "release-legal-hold"}
        | NOTES
        | CLOCKS
        | ACCESS,
        ITEMS | {"record-lesson"},
        {"place-legal-hold", "release-legal-hold", "accept-loss"},
    ),
    Role.EXECUTIVE_INCIDENT_MANAGER: (
        {
            "record-root-cause", "approve-recovery-plan", "eradicate", "close", "reopen",
            "approve-lowering", "break-glass",
        } | NOTES | ACCESS,
        ITEMS | {"record-lesson", "evaluate-response", "send-back", "sign-off", "waive"},
        set(),
    ),
    # For an absent service team or security response, flagged.
    Role.DUTY_MANAGER: (
        {
            "escalate", "dismiss-at-triage", "form-v-team", "add-v-team-member",
            "remove-v-team-member", "break-glass",
        } | SEVERITY | NOTES,
        set(),
        set(),
    ),
    Role.EVIDENCE_CUSTODIAN: (
        set(),
        set(),
        CUSTODY
        | {"set-retention", "release", "request-disposal", "dispose", "request-loss-acceptance"},
    ),
    Role.DETECTION_ENGINEER: (set(), ITEMS | {"record-lesson"}, set()),
    # Reads all; that somebody read an item of evidence is itself recorded.
    Role.AUDITOR: (set(), set(), {"record-access"}),
    Role.POLICY_ADMIN: (set(), set(), set()),
    Role.CUSTOMER_CONTACT: (set(), set(), set()),
    Role.INGEST_CLIENT: (set(), set(), set()),
    Role.OPERATOR: (set(), set(), set()),
}  # fmt: skip

# §7, column "may not", where it names something that cases could do.
MAY_NOT = [
    (Role.SERVICE_TEAM, "confirm"),
    (Role.INCIDENT_COMMUNICATIONS, "set-severity"),
    (Role.SUBJECT_MATTER_EXPERT, "report-containment-loss"),  # "change state"
    (Role.LEGAL, "seal"),  # "edit evidence"
    (Role.DUTY_MANAGER, "confirm"),
]
TABLES: tuple[Any, ...] = (RULES, REVIEW_RULES, EVIDENCE_RULES)


def may(role: Role, table: int) -> set[str]:
    """Return the verbs that the rules let *role* try."""
    found = set()
    for rule in TABLES[table].values():
        stands_in = getattr(rule, "stands_in", None) and role is Role.DUTY_MANAGER
        if role.value in {r.value for r in rule.roles} or stands_in:
            found.add(rule.verb)
    return found


def test_the_table_names_every_role() -> None:
    assert set(MAY) == set(Role)


@pytest.mark.parametrize(("role", "table"), list(product(Role, range(3))))
def test_a_role_may_do_exactly_what_the_reference_says(role: Role, table: int) -> None:
    assert may(role, table) == MAY[role][table]


@pytest.mark.parametrize(("role", "verb"), MAY_NOT)
def test_a_role_may_not_do_what_the_reference_forbids(role: Role, verb: str) -> None:
    assert verb in {rule.verb for table in TABLES for rule in table.values()}
    assert all(verb not in may(role, table) for table in range(3))


def test_a_change_of_state_is_never_an_experts() -> None:
    for rule in RULES.values():
        if rule.to or rule.back:
            assert "subject_matter_expert" not in rule.roles, rule.verb


def guards(methods: set[str]) -> Iterator[tuple[str, set[Role]]]:
    url = SecretStr("postgresql://nobody@127.0.0.1:1/none")
    app = create_app(Settings(database_url=url, master_key_file=master_key()))
    for route in routes_of(app):
        if not methods & set(getattr(route, "methods", None) or ()):
            continue
        pending, found = [route.dependant], set(Role)
        while pending:
            dependant = pending.pop()
            # Who passes every guard on the way.
            found &= set(getattr(dependant.call, "__tocsin_guard__", Role))
            pending += dependant.dependencies
        if not getattr(route.endpoint, "__tocsin_public__", False):
            yield route.path, found


def test_every_route_of_a_verb_admits_whom_its_rule_admits() -> None:
    wanted: dict[str, set[Role]] = {}
    names = ("incidents/{incident_id}", "reviews/{review_id}", "evidence/{evidence_id}")
    for table, name in enumerate(names):
        for rule in TABLES[table].values():
            who = {role for role in Role if rule.verb in may(role, table)}
            wanted[f"/v1/{name}/{rule.verb}"] = who
    served = {path: roles for path, roles in guards({"POST"}) if path in wanted}
    # By other routes: opening, announcing, and the bytes; by the system alone: the rest.
    elsewhere = {"open", "register", "collect"} | {RULES[c].verb for c in SYSTEM_ONLY}
    assert {path.rpartition("/")[2] for path in wanted.keys() - served.keys()} == elsewhere
    for path, roles in served.items():
        assert roles == wanted[path], path


OUTSIDERS = {
    Role.POLICY_ADMIN, Role.CUSTOMER_CONTACT, Role.INGEST_CLIENT, Role.OPERATOR
}  # fmt: skip


def test_who_has_no_business_in_cases_reads_no_content() -> None:
    for path, roles in guards({"GET"}):
        assert not roles & OUTSIDERS, path


def test_the_system_gives_what_no_person_may() -> None:
    assert {RULES[command].verb for command in SYSTEM_ONLY} == {
        "attach-detections", "propose-severity", "propose-priority", "record-fact",
        "record-affected-customers", "record-customers-notified",
    }  # fmt: skip
