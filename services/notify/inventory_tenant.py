"""Pure: a tenant as it is written: contacts, the system that listens, the clauses of its contract.

What is stored holds no webhook secret: a secret is in the file, or in the secret file by name.
"""

import json
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from services.notify.inventory import NOTICE, Clause, Contacts, Tenant, Webhook
from services.notify.obligations.deadlines import ElapsedHours
from services.notify.obligations.regimes import CLOCKS
from services.notify.obligations.rule_file import parse_rule
from services.notify.wording.catalogue import is_locale
from shared.yaml_lines import Fields, LineError, Node, fields, plain

__all__ = ["TENANT_KEYS", "Secrets", "read_tenant", "tenant_document"]

Secrets = Literal["inside", "elsewhere", "left_out"]
"""Whether a webhook may hold its secret: in the file; in no import; left out of what is stored."""

TENANT_KEYS = (
    "name", "display_name", "region", "data_subject_regions", "industry", "locale", "capacities",
    "contacts", "contract",
)  # fmt: skip
_EMAIL = re.compile(r"[!#-'*+\-./0-9=?A-Z^_`a-z{|}~]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII)


def read_tenant(tenant: Fields, secrets: Secrets) -> Tenant:
    """Return the tenant that *tenant* describes; LineError for one that nobody could tell."""
    name = tenant.text("name")
    subjects = tenant.texts("data_subject_regions")
    capacities = tenant.texts("capacities")
    locale = tenant.text_or_none("locale")
    if locale is not None and not is_locale(locale):
        raise LineError(
            tenant.line_of("locale"), f"tenant {name!r}: {locale!r} is no language like de"
        )
    return Tenant(
        name=name,
        display_name=tenant.text_or_none("display_name") or name,
        region=tenant.text_or_none("region"),
        data_subject_regions=frozenset(text for text, _ in subjects) if subjects else None,
        industry=tenant.text_or_none("industry"),
        locale=locale,
        capacities=frozenset(text for text, _ in capacities) if capacities else None,
        contacts=_contacts(tenant, name, secrets),
        clauses=_clauses(tenant, name),
    )


def _contacts(tenant: Fields, name: str, secrets: Secrets) -> Contacts:
    node = tenant.table("contacts")
    # An affected tenant that nobody can tell would be a silent drop (I12).
    if node is None:
        raise LineError(tenant.line, f"tenant {name!r} has no contacts")
    given = fields(node, f"contacts of {name!r}", ("email", "alternate_email", "webhook"))
    emails, others = given.texts("email"), given.texts("alternate_email")
    for email, line in (*emails, *others):
        if not _EMAIL.fullmatch(email):
            raise LineError(line, f"contacts of {name!r}: {email!r} is not an e-mail address")
    hook = given.table("webhook")
    if not emails and hook is None:
        raise LineError(given.line, f"tenant {name!r} has neither e-mail nor webhook")
    unique = tuple(dict.fromkeys(email for email, _ in emails))
    if others and not emails:
        raise LineError(others[0][1], f"tenant {name!r} has an alternate e-mail but no e-mail")
    return Contacts(
        emails=unique,
        alternates=tuple(dict.fromkeys(email for email, _ in others if email not in unique)),
        webhook=_webhook(hook, name, secrets) if hook else None,
    )


def _webhook(node: Node, name: str, secrets: Secrets) -> Webhook:
    given = fields(node, f"webhook of {name!r}", ("url", "secret_ref", "secret"))
    url = given.text("url")
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username
        _ = parts.port
    except ValueError:
        good = False
    if not good or not url.isascii() or any(c.isspace() for c in url):
        raise LineError(given.line_of("url"), f"webhook of {name!r}: {url!r} is not a plain URL")
    ref, secret = given.text_or_none("secret_ref"), given.text_or_none("secret")
    if secrets == "elsewhere" and secret is not None:
        # It would be in memory only, and gone with the next restart.
        raise LineError(given.line_of("secret"), f"webhook of {name!r} needs secret_ref, no secret")
    if (ref is None) == (secret is None) and secrets != "left_out":
        raise LineError(given.line, f"webhook of {name!r} needs either secret_ref or secret")
    return Webhook(url=url, secret_ref=ref, secret=secret)


def _clauses(tenant: Fields, name: str) -> tuple[Clause, ...]:
    names: dict[str, int] = {}
    found = []
    for node in tenant.items("contract"):
        what = f"contract of {name!r}"
        given = fields(node, what, ("clause", "regime", "hours", "rule", "clock", "content"))
        clock = given.text("clock")
        if clock not in CLOCKS:
            raise LineError(
                given.line_of("clock"), f"clock {clock!r} is none of {', '.join(CLOCKS)}"
            )
        if (regime := given.text_or_none("regime") or "contract_sla") != "contract_sla":
            raise LineError(given.line_of("regime"), f"regime {regime!r} is not a contract's")
        hours, node_of_rule = given.number_or_none("hours", 1, 24 * 365), given.table("rule")
        if (hours is None) == (node_of_rule is None):
            raise LineError(given.line, f"{what} needs either hours or a rule")
        terms = {"elapsed_hours": hours} if node_of_rule is None else plain(node_of_rule)
        content = tuple(text for text, _ in given.texts("content"))
        clause = given.text_or_none("clause") or "notice"
        if clause in names:
            first = names[clause]
            raise LineError(
                given.line, f"clause {clause!r} of {name!r} stands twice (first in line {first})"
            )
        names[clause] = given.line
        found.append(
            Clause(
                id=clause,
                clock=clock,
                terms=json.dumps(terms, sort_keys=True),
                rule=ElapsedHours(hours or 0)
                if node_of_rule is None
                else parse_rule(node_of_rule, what, CLOCKS),
                regime=regime,
                content=content or NOTICE,
            )
        )
    return tuple(found)


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """Return *tenant* as `read_tenant` takes it, without secrets; tags are no part of it."""
    hook = tenant.contacts.webhook
    return _some(
        name=tenant.name,
        display_name=tenant.display_name,
        region=tenant.region,
        data_subject_regions=sorted(tenant.data_subject_regions or ()),
        industry=tenant.industry,
        locale=tenant.locale,
        capacities=sorted(tenant.capacities or ()),
        contacts=_some(
            email=list(tenant.contacts.emails),
            alternate_email=list(tenant.contacts.alternates),
            webhook=_some(url=hook.url, secret_ref=hook.secret_ref) if hook else None,
        ),
        contract=[
            _some(
                clause=c.id,
                regime=c.regime,
                clock=c.clock,
                **_terms(c),
                content=[] if c.content == NOTICE else list(c.content),
            )
            for c in tenant.clauses
        ],
    )


def _terms(clause: Clause) -> dict[str, Any]:
    """Return the clause's rule, in the short form where that says all."""
    if clause.rule == ElapsedHours(getattr(clause.rule, "hours", 0)):
        return {"hours": clause.rule.hours}
    return {"rule": json.loads(clause.terms)}


def _some(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [])}
