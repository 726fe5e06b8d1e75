"""The operator's profile out of its settings: who it is, whose clock and holidays count."""

from typing import Protocol

from services.notify.obligations.identify import OperatorProfile
from shared.errors import UserError

__all__ = ["COUNTRIES", "ProfileError", "operator_profile"]

# Country → the authority's zone; its holidays are the calendar of the same letters.
COUNTRIES = {
    "AT": "Europe/Vienna", "AU": "Australia/Sydney", "BE": "Europe/Brussels",
    "BG": "Europe/Sofia", "BR": "America/Sao_Paulo", "CA": "America/Toronto",
    "CH": "Europe/Zurich", "CN": "Asia/Shanghai", "CY": "Asia/Nicosia", "CZ": "Europe/Prague",
    "DE": "Europe/Berlin", "DK": "Europe/Copenhagen", "EE": "Europe/Tallinn",
    "ES": "Europe/Madrid", "FI": "Europe/Helsinki", "FR": "Europe/Paris", "GB": "Europe/London",
    "GR": "Europe/Athens", "HK": "Asia/Hong_Kong", "HR": "Europe/Zagreb", "HU": "Europe/Budapest",
    "ID": "Asia/Jakarta", "IE": "Europe/Dublin", "IN": "Asia/Kolkata", "IS": "Atlantic/Reykjavik",
    "IT": "Europe/Rome", "JP": "Asia/Tokyo", "KR": "Asia/Seoul", "LI": "Europe/Vaduz",
    "LT": "Europe/Vilnius", "LU": "Europe/Luxembourg", "LV": "Europe/Riga", "MT": "Europe/Malta",
    "MY": "Asia/Kuala_Lumpur", "NL": "Europe/Amsterdam", "NO": "Europe/Oslo",
    "NZ": "Pacific/Auckland", "PH": "Asia/Manila", "PL": "Europe/Warsaw", "PT": "Europe/Lisbon",
    "RO": "Europe/Bucharest", "SA": "Asia/Riyadh", "SE": "Europe/Stockholm",
    "SG": "Asia/Singapore", "SI": "Europe/Ljubljana", "SK": "Europe/Bratislava",
    "TH": "Asia/Bangkok", "TR": "Europe/Istanbul", "TW": "Asia/Taipei", "US": "America/New_York",
    "VN": "Asia/Ho_Chi_Minh",
}  # fmt: skip


class ProfileError(UserError):
    """The operator's profile names a country that is not known."""


class Stated(Protocol):
    """What is stated of the operator."""

    @property
    def operator_capacities(self) -> list[str] | None: ...
    @property
    def operator_data_subject_regions(self) -> list[str] | None: ...
    @property
    def operator_country(self) -> str | None: ...
    @property
    def operator_entity_classes(self) -> list[str] | None: ...
    @property
    def operator_service_kinds(self) -> list[str] | None: ...


def operator_profile(stated: Stated) -> OperatorProfile:
    """Return the profile; ProfileError for a country whose zone and holidays are not known."""
    country = stated.operator_country
    if country is not None and country not in COUNTRIES:
        known = ", ".join(sorted(COUNTRIES))
        raise ProfileError(f"operator_country {country!r} is none of {known}")
    return OperatorProfile(
        capacities=_set(stated.operator_capacities),
        data_subject_regions=_set(stated.operator_data_subject_regions),
        established_in=frozenset({country}) if country else None,
        entity_classes=_set(stated.operator_entity_classes),
        service_kinds=_set(stated.operator_service_kinds),
        tz=COUNTRIES[country] if country else None,
        calendar={"US": "us-federal"}.get(country, country.lower()) if country else None,
    )


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
