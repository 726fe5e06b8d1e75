"""Pure: which words go to whom: of each tenant the template, and all that its notice has to say.

One notice may satisfy several regimes (§4.1): it says what any of them asks for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.notify.inventory import Tenant
from services.notify.message import REQUIRED
from services.notify.obligations.regimes import Duty, Regimes
from services.notify.wording.catalogue import Catalogue, Kind, Template

__all__ = ["Demand", "Planned", "Variant", "demanded", "plan", "variants"]


@dataclass(frozen=True, slots=True)
class Demand:
    """What one regime asks of the notice to a tenant."""

    regime: str
    phase: str
    content: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A template with the names that a notice from it has to say; tenants alike share one."""

    template: Template = field(compare=False)
    names: tuple[str, ...]
    key: tuple[str, str]
    """Of the template: its id and its language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One message to come."""

    tenant: Tenant
    channel: str
    to: tuple[str, ...]
    variant: Variant
    demands: tuple[Demand, ...]


def demanded(
    owed: Iterable[tuple[str, str]], tenant: Tenant, regimes: Regimes
) -> tuple[Demand, ...]:
    """Return what *owed*, pairs of regime and phase in order of urgency, asks of the notice."""
    rows = {row.id: row for row in regimes.rows}
    found: list[Demand] = []
    for regime, phase in owed:
        row = rows.get(regime)
        if row is None:
            continue
        if row.duty is Duty.CLAUSE:
            content = [c.content for c in tenant.clauses if (c.regime, c.id) == (regime, phase)]
        else:
            content = [p.content for p in row.phases if p.id == phase]
        found += [Demand(regime, phase, names) for names in content[:1]]
    return tuple(found)


def plan(
    tenants: Iterable[Tenant],
    owed: Mapping[str, Sequence[tuple[str, str]]],
    told: Iterable[tuple[str, str]],
    regimes: Regimes,
    catalogue: Catalogue,
) -> Iterator[Planned]:
    """Yield a message for each channel of each tenant that was not *told* by it."""
    heard = set(told)
    known: dict[tuple[object, ...], Variant] = {}
    for tenant in tenants:
        demands = demanded(owed.get(tenant.name, ()), tenant, regimes)
        for channel, to in _channels(tenant):
            if (tenant.name, channel) in heard:
                continue
            alike = (channel, tenant.locale, demands)
            if alike not in known:
                known[alike] = _variant(channel, tenant.locale, demands, catalogue)
            yield Planned(
                tenant=tenant, channel=channel, to=to, variant=known[alike], demands=demands
            )


def variants(planned: Iterable[Planned]) -> dict[Variant, list[Planned]]:
    """Return the messages by their variant, in the order in which they came."""
    found: dict[Variant, list[Planned]] = {}
    for one in planned:
        found.setdefault(one.variant, []).append(one)
    return found


def _variant(
    channel: str, locale: str | None, demands: Sequence[Demand], catalogue: Catalogue
) -> Variant:
    regimes = [demand.regime for demand in demands]
    template = catalogue.choose(Kind.NOTICE, channel, locale, regimes)
    asked = [name for demand in demands for name in demand.content]
    names = tuple(dict.fromkeys((*REQUIRED, *template.requires, *asked)))
    return Variant(template, names, (template.id, template.locale))


def _channels(tenant: Tenant) -> Iterator[tuple[str, tuple[str, ...]]]:
    if tenant.contacts.emails:
        yield "email", tenant.contacts.emails
    if tenant.contacts.webhook:
        yield "webhook", (tenant.contacts.webhook.url,)
