"""Pages over HTTP: Standard Webhooks, Slack, Microsoft Teams, PagerDuty Events v2."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

import httpx
from standardwebhooks import Webhook

from services.escalate.oncall.channels.http import Poster
from services.escalate.oncall.channels.message import LinkOf, Message, message_of
from services.escalate.oncall.channels.secrets import Secrets
from services.escalate.pages import Page
from services.escalate.paging import ChannelError
from shared.clock import Clock, rfc3339

__all__ = ["HOOKS", "PAGERDUTY", "HookChannel", "pagerduty", "slack", "teams", "webhook"]

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_PAGERDUTY_SEVERITY = {"SEV0": "critical", "SEV1": "critical", "SEV2": "error", "SEV3": "warning"}


def slack(message: Message) -> dict[str, Any]:
    """Return the blocks of an incoming webhook, with a button that acknowledges."""
    return {
        "text": _escaped(message.subject),  # for notifications and screen readers
        "blocks": [
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": f"*{_escaped(message.subject)}*"},
                "fields": [
                    {"type": "mrkdwn", "text": f"*{name}*\n{_escaped(value)}"}
                    for name, value in message.fields().items()
                ],
            },
            {
                "type": "actions",
                "block_id": f"page:{message.id}",
                "elements": _slack_buttons(message),
            },
        ],
    }


def _slack_buttons(message: Message) -> list[dict[str, Any]]:
    """Return the buttons; the first is a link unless our application takes its clicks."""
    by = {"value": str(message.id)} if message.interactive else {"url": message.link}
    buttons: list[dict[str, Any]] = [
        {
            "type": "button",
            "style": "primary",
            "text": {"type": "plain_text", "text": "Acknowledge"},
            "action_id": "acknowledge",
            **by,
        }
    ]
    if message.severity_link:
        buttons.append(
            {
                "type": "button",
                "text": {"type": "plain_text", "text": "Set severity"},
                "action_id": "set_severity",
                "url": message.severity_link,
            }
        )
    return buttons


def teams(message: Message) -> dict[str, Any]:
    """Return the message of a Teams workflow webhook: an adaptive card with a button."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {
                "type": "TextBlock", "text": message.subject, "weight": "Bolder",
                "size": "Medium", "wrap": True,
            },
            {
                "type": "FactSet",
                "facts": [{"title": k, "value": v} for k, v in message.fields().items()],
            },
        ],
        "actions": [
            {"type": "Action.OpenUrl", "title": title, "url": url}
            for title, url in (
                ("Acknowledge", message.link),
                ("Set severity", message.severity_link),
            )
            if url
        ],
    }  # fmt: skip
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": card,
            }
        ],
    }


def pagerduty(message: Message, routing_key: str) -> dict[str, Any]:
    """Return a trigger of Events API v2; the page's id is its ``dedup_key``."""
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": str(message.id),
        "client": "Tocsin",
        "links": [
            {"href": url, "text": words}
            for words, url in (
                ("Acknowledge in Tocsin", message.link),
                ("Set the severity in Tocsin", message.severity_link),
            )
            if url
        ],
        "payload": {
            "summary": message.subject[:1024],
            "source": "tocsin",
            "severity": _PAGERDUTY_SEVERITY.get(message.severity or "SEV1", "info"),
            "timestamp": rfc3339(message.created_at),
            "group": message.team,
            "custom_details": {"incident_id": str(message.incident_id), **message.fields()},
        },
    }


def webhook(message: Message) -> dict[str, Any]:
    """Return the body of a Standard Webhook."""
    return {
        "type": "tocsin.page",
        "timestamp": rfc3339(message.created_at),
        "data": {
            "page_id": str(message.id),
            "incident_id": str(message.incident_id),
            "team": message.team,
            "person": message.person,
            "severity": message.severity,
            "reason": message.subject,
            "acknowledge_url": message.link,
            **({"severity_url": message.severity_link} if message.severity_link else {}),
        },
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")  # Slack's three


Shape = Callable[[Message, Mapping[str, str]], dict[str, Any]]
"""Returns the body for a message and the secret of its recipient."""

HOOKS: Mapping[str, tuple[tuple[str, ...], Shape]] = {
    "slack": (("url",), lambda message, _: slack(message)),
    "teams": (("url",), lambda message, _: teams(message)),
    "webhook": (("url", "secret"), lambda message, _: webhook(message)),
    "pagerduty": (
        ("routing_key",),
        lambda message, secret: pagerduty(message, secret["routing_key"]),
    ),
}


class HookChannel:
    """One of `HOOKS`; what it needs to know is read from the secrets at each sending."""

    def __init__(
        self, name: str, poster: Poster, secrets: Secrets, link_of: LinkOf, clock: Clock
    ) -> None:
        self.name = name
        self._needs, self._shape = HOOKS[name]
        self._poster, self._secrets = poster, secrets
        self._link_of, self._clock = link_of, clock

    def provider(self, page: Page) -> str:
        """Return host and port of its URL; the channel, where that is not known."""
        try:
            url = httpx.URL(self._url(self._secrets.get(page.recipient, *self._needs)))
        except (ChannelError, httpx.InvalidURL):
            return self.name
        return f"{url.host}:{url.port or url.scheme}"

    async def send(self, page: Page) -> None:
        """Return once the provider took it; ChannelError if it did not."""
        secret = self._secrets.get(page.recipient, *self._needs)
        message = message_of(page, self._link_of, self._clock())
        content = json.dumps(self._shape(message, secret), ensure_ascii=False).encode()
        headers = self._signed(page, content, secret) if self.name == "webhook" else {}
        await self._poster.post(self._url(secret), content, headers)

    @staticmethod
    def _url(secret: Mapping[str, str]) -> str:
        return secret.get("url", PAGERDUTY)  # only PagerDuty's may lack one

    def _signed(self, page: Page, content: bytes, secret: Mapping[str, str]) -> dict[str, str]:
        at = self._clock().astimezone(UTC)
        try:
            signature = Webhook(secret["secret"]).sign(str(page.id), at, content.decode())
        except Exception:  # noqa: BLE001 - of several types, and its words may hold the secret
            raise ChannelError(f"the webhook secret of {page.recipient} is malformed") from None
        return {
            "webhook-id": str(page.id),
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature,
        }
