"""The channels that settings describe, by name."""

from datetime import timedelta

from services.escalate.oncall.channels.apprise import AppriseChannel
from services.escalate.oncall.channels.email import EmailChannel, MailServer
from services.escalate.oncall.channels.hooks import HOOKS, HookChannel
from services.escalate.oncall.channels.http import Poster
from services.escalate.oncall.channels.message import PageLinks
from services.escalate.oncall.channels.secrets import Secrets
from services.escalate.oncall.links import Links
from services.escalate.pages import Page
from services.escalate.paging import Channel, LogChannel
from services.escalate.settings import Settings
from shared.clock import Clock
from shared.egress import AllowList

__all__ = ["channels_of", "poster_of"]


def poster_of(settings: Settings) -> Poster:
    """Return what posts to providers; to be entered, as it keeps connections."""
    return Poster(AllowList.parse(settings.paging_allow), ca_file=settings.paging_ca_file)


def channels_of(
    settings: Settings, poster: Poster, links: Links, clock: Clock
) -> dict[str, Channel]:
    """Return every channel; one whose secrets are not set refuses each page."""
    valid = timedelta(hours=settings.link_hours)

    def link_of(page: Page) -> PageLinks:
        expires = (page.created_at or clock()) + valid
        asks = page.asks == "severity" and page.person is not None
        return PageLinks(
            acknowledge=links.link(page.id, expires),
            severity=links.link(page.id, expires, "set-severity") if asks else None,
            interactive=settings.slack_signing_secret is not None,
        )

    password = settings.smtp_password
    server = MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        ca_file=settings.smtp_ca_file,
        user=settings.smtp_user,
        password=password.get_secret_value() if password else None,
        sender=settings.sender,
    )
    secrets = Secrets(settings.paging_secrets_file)
    made: list[Channel] = [
        LogChannel(),
        EmailChannel(server, link_of, clock),
        AppriseChannel(secrets, link_of, clock),
        *(HookChannel(name, poster, secrets, link_of, clock) for name in HOOKS),
    ]
    return {channel.name: channel for channel in made}
