"""What Alertmanager and PagerDuty's clients send, as one shape; pure.

Alertmanager's webhook of version 4 names its group and lists its alerts. PagerDuty's Events v2
names what it is about by `dedup_key`. Both say when a thing is over.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared.ids import new_secret

__all__ = ["Alert", "AlertmanagerBody", "PagerDutyBody", "from_alertmanager", "from_pagerduty"]

LONGEST = 20_000
Action = Literal["trigger", "acknowledge", "resolve"]
Labels = Annotated[dict[str, str], Field(max_length=200)]


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing a tool tells; the same *key* is the same thing."""

    action: Action
    key: str
    title: str
    statement: str
    services: tuple[str, ...] = ()


class AlertmanagerAlert(BaseModel):
    """One alert of a group."""

    model_config = ConfigDict(alias_generator=to_camel)

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = Field(default_factory=dict)
    starts_at: str = ""


class AlertmanagerBody(BaseModel):
    """Alertmanager's (and Grafana's) webhook; further fields are not looked at."""

    model_config = ConfigDict(alias_generator=to_camel)

    version: Literal["4"]
    group_key: str = Field(min_length=1, max_length=4096)
    status: Literal["firing", "resolved"]
    alerts: list[AlertmanagerAlert] = Field(min_length=1, max_length=1000)
    group_labels: Labels = Field(default_factory=dict)
    common_labels: Labels = Field(default_factory=dict)
    common_annotations: Labels = Field(default_factory=dict)


class PagerDutyPayload(BaseModel):
    """What it is about."""

    summary: str = Field(min_length=1, max_length=1024)
    source: str = Field(min_length=1, max_length=1024)
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: str | None = None
    component: str | None = None
    group: str | None = None
    custom_details: Any = None


class PagerDutyBody(BaseModel):
    """An event of the Events API v2; `payload` is for a trigger."""

    routing_key: str = Field(min_length=1, max_length=200)
    event_action: Action
    dedup_key: str | None = Field(None, max_length=255)
    payload: PagerDutyPayload | None = None


def from_alertmanager(body: AlertmanagerBody) -> Alert:
    """Return what the group says; it is over when all of it is."""
    common = {**body.group_labels, **body.common_labels}
    name = common.get("alertname") or body.alerts[0].labels.get("alertname") or "alert"
    summary = body.common_annotations.get("summary") or body.alerts[0].annotations.get("summary")
    title = f"{name}: {summary}" if summary else name
    lines = [
        f"{alert.status} since {alert.starts_at}: {_pairs(alert.labels)}"
        + (f"; {_pairs(alert.annotations)}" if alert.annotations else "")
        for alert in body.alerts
    ]
    service = common.get("service")
    return Alert(
        action="resolve" if body.status == "resolved" else "trigger",
        key=body.group_key,
        title=title,
        statement=_bounded(lines),
        services=(service,) if service and service.isprintable() and len(service) <= 200 else (),
    )


def from_pagerduty(body: PagerDutyBody) -> Alert:
    """Return what the event says; ValueError where it lacks what its action needs."""
    if body.event_action != "trigger":
        if not body.dedup_key:
            raise ValueError("dedup_key is needed to acknowledge or resolve")
        return Alert(body.event_action, body.dedup_key, "", "")
    if body.payload is None:
        raise ValueError("payload is needed for a trigger")
    about = body.payload.model_dump(exclude_none=True, exclude={"custom_details"})
    lines = [f"{name}: {value}" for name, value in about.items()]
    if body.payload.custom_details is not None:
        lines.append(json.dumps(body.payload.custom_details, ensure_ascii=False, indent=1))
    key = body.dedup_key or new_secret(16)
    return Alert("trigger", key, body.payload.summary, _bounded(lines))


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items()))


def _bounded(lines: Sequence[str]) -> str:
    text = "\n".join(lines).replace("\x00", "\ufffd")
    text = text.encode("utf-8", "replace").decode()
    cut = "\n… (cut)"
    return text if len(text) <= LONGEST else text[: LONGEST - len(cut)] + cut
