"""The service directory: tiers, owning teams, security response, further teams; from a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from services.escalate.file_spots import Spot, read_spot, read_text
from services.escalate.oncall.roster import COMPONENTS, EMPTY_ROSTER, Roster
from services.escalate.oncall.roster_file import KIND, parse_roster

__all__ = ["SHIPPED_DIRECTORY", "Directory", "load_directory", "parse_directory"]

SHIPPED_DIRECTORY = Path(__file__).with_name("directory.yml")
TIERS = ("tier0", "tier1", "tier2", "tier3")
REGION_CLASSES = ("standard", "data_residency", "sovereign")
# Kinds that every directory names; further ones (the other SME kinds of R22, any of one's own) may.
TEAMS = (
    "incident_communications", "legal", "security_compliance", "cloud_platform_security",
    "executive_incident_manager", "duty_manager",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Owner:
    """A security response team and what it owns; a None fits everything."""

    team: str
    service: str | None
    region: str | None

    @property
    def precision(self) -> int:
        """Return how much it names: service and region before service before region."""
        return 2 * (self.service is not None) + (self.region is not None)

    def fits(self, services: Sequence[str], regions: Sequence[str]) -> bool:
        """Tell whether something of what it owns is among them."""
        return (self.service is None or self.service in services) and (
            self.region is None or self.region in regions
        )


@dataclass(frozen=True, slots=True)
class Directory:
    """Who owns what. Lookups by a name that it does not hold have a safe answer, never none."""

    global_response: str
    owners: tuple[Owner, ...]
    default_service_team: str
    teams: Mapping[str, str]
    tiers: Mapping[str, str]
    service_teams: Mapping[str, str]
    region_classes: Mapping[str, str]
    components: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    roster: Roster = EMPTY_ROSTER
    industries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def security_response(self, services: Sequence[str], regions: Sequence[str]) -> str:
        """Return the one owning team (R08): of the most precise owner that fits, else global.

        Between equally precise owners the one that stands first in the file wins.
        """
        fitting = [owner for owner in self.owners if owner.fits(services, regions)]
        return max(fitting, key=lambda o: o.precision).team if fitting else self.global_response

    def teams_of(self, services: Sequence[str]) -> tuple[str, ...]:
        """Return the teams of *services*; the default team for those that are not listed."""
        found = {self.service_teams.get(s, self.default_service_team) for s in services}
        return tuple(sorted(found)) or (self.default_service_team,)

    def tier(self, services: Sequence[str]) -> str | None:
        """Return the most critical tier among *services*; None if any of them is not listed.

        A service that nobody described may be the most critical of all, so it is not ignored.
        """
        found = [self.tiers.get(service) for service in services]
        return _extreme(found, TIERS)

    def components_of(self, services: Sequence[str]) -> tuple[str, ...]:
        """Return the stack components that *services* are said to consist of (R06)."""
        return tuple(sorted({c for s in services for c in self.components.get(s, ())}))

    def kind_of(self, team: str) -> str:
        """Return what *team* is for: as described, else by what it is named for here."""
        if team in self.roster.teams:
            return self.roster.teams[team].kind
        if team == self.global_response or any(team == owner.team for owner in self.owners):
            return "security_response"
        kinds = [kind for kind, name in self.teams.items() if name == team]
        return kinds[0] if kinds else "service_team"

    def industries_of(self, tenants: Iterable[str]) -> frozenset[str]:
        """Return the industries that *tenants* are said to be in (RT8)."""
        return frozenset(self.industries[t] for t in tenants if t in self.industries)

    def critical_teams(self) -> frozenset[str]:
        """Return the teams of tier0 and tier1 services: they need a second on call (§6)."""
        return frozenset(
            self.service_teams[name] for name, tier in self.tiers.items() if tier in TIERS[:2]
        )

    def region_class(self, regions: Sequence[str]) -> str | None:
        """Return the strictest class among *regions*; None if any of them is not listed."""
        found = [self.region_classes.get(region) for region in regions]
        return _extreme(found, REGION_CLASSES[::-1])


def _extreme(found: Sequence[str | None], order: Sequence[str]) -> str | None:
    """Return the member of *found* that stands first in *order*; None if that is not certain."""
    known = [value for value in found if value is not None]
    if order[0] in known:  # nothing that is not listed could be beyond it
        return order[0]
    return min(known, key=order.index) if known and len(known) == len(found) else None


def load_directory(path: Path = SHIPPED_DIRECTORY) -> Directory:
    """Return the directory in *path*; FileError names the line that is wrong and why."""
    return parse_directory(read_text(path), path.name)


def parse_directory(text: str, source: str = "directory") -> Directory:
    """Return the directory in *text*; FileError names the line that is wrong and why."""
    top = read_spot(text, source).table(
        ("security_response", "default_service_team", "teams", "services"),
        ("regions", "people", "schedules", "on_call", "tenants"),
    )
    response = top["security_response"].table(("global",), ("owners",))
    teams = top["teams"].entries()
    top["teams"].table(TEAMS, tuple(teams))
    for kind, spot in teams.items():
        if not KIND.fullmatch(kind):
            raise spot.refusal("a kind is a word of small letters, digits and _")
    services = {
        name: spot.table(("tier", "team"), ("components",))
        for name, spot in top["services"].entries().items()
    }
    regions = top["regions"].entries() if "regions" in top else {}
    tenants = top["tenants"].entries() if "tenants" in top else {}
    return Directory(
        global_response=response["global"].text(),
        owners=tuple(map(_owner, response["owners"].items() if "owners" in response else ())),
        default_service_team=top["default_service_team"].text(),
        teams=MappingProxyType({kind: spot.text() for kind, spot in teams.items()}),
        tiers=MappingProxyType({n: s["tier"].one_of(TIERS) for n, s in services.items()}),
        service_teams=MappingProxyType({n: s["team"].text() for n, s in services.items()}),
        region_classes=MappingProxyType(
            {name: spot.one_of(REGION_CLASSES) for name, spot in regions.items()}
        ),
        components=MappingProxyType(
            {
                name: tuple(s.one_of(COMPONENTS) for s in parts["components"].texts())
                for name, parts in services.items()
                if "components" in parts
            }
        ),
        roster=parse_roster(top.get("people"), top.get("schedules"), top.get("on_call")),
        industries=MappingProxyType(
            {name: spot.table(("industry",))["industry"].text() for name, spot in tenants.items()}
        ),
    )


def _owner(spot: Spot) -> Owner:
    parts = spot.table(("team",), ("service", "region"))
    service, region = (parts[k].text() if k in parts else None for k in ("service", "region"))
    if service is None and region is None:
        raise spot.refusal("names neither service nor region; that is security_response.global")
    return Owner(parts["team"].text(), service, region)
