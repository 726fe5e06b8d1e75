"""A directory with people, schedules and teams of every kind."""

from functools import cache

from services.escalate.directory import Directory, parse_directory
from tests.unit.escalate.given import DIRECTORY as SMALL

STAFFED = (
    SMALL.replace(
        "  duty_manager: dm\n",
        "  duty_manager: dm\n"
        "  threat_intelligence: ti\n"
        "  vulnerability_response_centre: vrc\n"
        "  product_engineering: pe\n"
        "  forensics: forensics\n",
    ).replace("{tier: tier2, team: api}", "{tier: tier2, team: api, components: [router]}")
    + """
people:
  ana:
    name: Ana Lima
    competencies: [network, router]
    services: [api]
    languages: [pt, en]
    contacts:
      - {channel: email, to: ana@example.org}
  bo:
    competencies: [firewall, load_balancer, operating_system, application]
    contacts:
      - {channel: webhook, to: bo-hook}
  cy:
    contacts:
      - {channel: email, to: cy@example.org}
      - {channel: slack, to: cy-slack}
schedules:
  sr-first:
    layers:
      - name: week
        people: [ana, bo]
        zone: Europe/Berlin
        start: "2026-01-05"
        handover: "09:00"
        length: {weeks: 1}
      - name: office
        people: [cy]
        zone: Europe/Berlin
        start: "2026-01-05"
        handover: "00:00"
        length: {days: 1}
        active:
          - {days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00"}
  sr-second:
    layers:
      - name: week
        people: [bo, ana]
        zone: Europe/Berlin
        start: "2026-01-05"
        handover: "09:00"
        length: {weeks: 1}
  always-cy:
    layers:
      - name: always
        people: [cy]
        zone: Etc/UTC
        start: "2026-01-01"
        handover: "00:00"
        length: {days: 1}
on_call:
  sr-global:
    kind: security_response
    members: [ana, bo, cy]
    primary: sr-first
    secondary: sr-second
    lead: cy
  api: {kind: service_team, members: [cy], primary: always-cy}
  legal: {kind: legal, members: [cy], primary: always-cy}
  dm: {kind: duty_manager, primary: always-cy}
  em: {kind: executive_incident_manager, primary: always-cy}
  pe: {kind: product_engineering, members: [ana, bo], primary: sr-second}
"""
)


@cache
def staffed() -> Directory:
    return parse_directory(STAFFED)
