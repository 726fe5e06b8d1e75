"""The channels that settings describe, by name."""

from datetime import timedelta

from services.escalate.oncall.channels.apprise import AppriseChannel
from services.escalate.oncall.channels.email import EmailChannel, MailServer
from services.escalate.oncall.channels.hooks import HOOKS, HookChannel
from services.escalate.oncall.channels.http import Poster
from services.escalate.oncall.channels.secrets import Secrets
from services.escalate.oncall.links import Links
from services.escalate.pages import Page
from services.escalate.paging import Channel
from services.escalate.settings import Settings
from shared.clock import Clock
from shared.egress import AllowList

__all__ = ["channels_of"]


def channels_of(settings: Settings, links: Links, clock: Clock) -> dict[str, Channel]:
    """Return every channel but the log; one whose secrets are not set refuses each page."""
    valid = timedelta(hours=settings.link_hours)

    def link_of(page: Page) -> str:
        return links.link(page.id, (page.created_at or clock()) + valid)

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
    poster = Poster(AllowList.parse(settings.paging_allow), ca_file=settings.paging_ca_file)
    secrets = Secrets(settings.paging_secrets_file)
    made: list[Channel] = [
        EmailChannel(server, link_of, clock),
        AppriseChannel(secrets, link_of, clock),
        *(HookChannel(name, poster, secrets, link_of, clock) for name in HOOKS),
    ]
    return {channel.name: channel for channel in made}
