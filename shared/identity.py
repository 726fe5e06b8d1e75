"""Who people and services are to Tocsin: roles, and the issuer of a platform without a provider."""

import math
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LOCAL_ISSUER", "Principal", "Role"]

LOCAL_ISSUER = "tocsin-local"


class Role(StrEnum):
    """The roles of the domain reference §7."""

    SERVICE_TEAM = "service_team"
    SECURITY_RESPONSE = "security_response"
    INCIDENT_COMMUNICATIONS = "incident_communications"
    SUBJECT_MATTER_EXPERT = "subject_matter_expert"
    LEGAL = "legal"
    EXECUTIVE_INCIDENT_MANAGER = "executive_incident_manager"
    DUTY_MANAGER = "duty_manager"
    EVIDENCE_CUSTODIAN = "evidence_custodian"
    DETECTION_ENGINEER = "detection_engineer"
    POLICY_ADMIN = "policy_admin"
    AUDITOR = "auditor"
    CUSTOMER_CONTACT = "customer_contact"
    INGEST_CLIENT = "ingest_client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated person or service."""

    id: str
    roles: frozenset[Role]
    tenant: str | None = None
    expires: float = math.inf  # seconds since 1970

    def has(self, *roles: Role) -> bool:
        return not self.roles.isdisjoint(roles)
