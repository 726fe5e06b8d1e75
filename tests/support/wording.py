"""The shipped wording of notify, and what an operator's file makes of it."""

from services.notify.obligations.regime_file import shipped_regimes
from services.notify.wording.catalogue import Catalogue
from services.notify.wording.catalogue_file import parse_wording, shipped_wording

REGIMES = frozenset(row.id for row in shipped_regimes().rows)


def shipped() -> Catalogue:
    """Return what ships."""
    return shipped_wording(REGIMES)


def with_file(text: str) -> Catalogue:
    """Return what ships with an operator's file over it; LineError where it is refused."""
    return parse_wording(text, shipped(), REGIMES, "mine.yml")
