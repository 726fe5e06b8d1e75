"""Pages to anything Apprise has a URL for: an extra (`pip install 'tocsin[apprise]'`).

Apprise opens its own connections, so the egress guard does not see them: its URLs come only from
the operator's own secrets.
"""

import importlib
from typing import Any

from services.escalate.oncall.channels.message import LinkOf, message_of
from services.escalate.oncall.channels.secrets import Secrets
from services.escalate.pages import Page
from services.escalate.paging import ChannelError
from shared.clock import Clock

__all__ = ["AppriseChannel"]


class AppriseChannel:
    """Hands pages to the library, if it is installed."""

    name = "apprise"

    def __init__(self, secrets: Secrets, link_of: LinkOf, clock: Clock) -> None:
        self._secrets, self._link_of, self._clock = secrets, link_of, clock

    def provider(self, page: Page) -> str:
        """Return the recipient: where its URL leads is known to the library alone."""
        return f"{self.name} {page.recipient}"

    async def send(self, page: Page) -> None:
        """Return once the library says that it was taken; ChannelError if it was not."""
        url = self._secrets.get(page.recipient, "url")["url"]
        try:
            library: Any = importlib.import_module("apprise")
        except ImportError:
            raise ChannelError("the extra apprise is not installed") from None
        sender = library.Apprise()
        if not sender.add(url):
            raise ChannelError(f"Apprise does not know the URL of {page.recipient}")
        message = message_of(page, self._link_of, self._clock())
        if not await sender.async_notify(title=message.subject, body=message.text):
            raise ChannelError("Apprise could not deliver it")
