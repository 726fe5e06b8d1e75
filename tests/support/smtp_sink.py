"""A real SMTP server that keeps what it accepts (aiosmtpd); it can refuse, defer and be down."""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


@dataclass(frozen=True)
class Mail:
    """One accepted message, with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])


@dataclass
class SmtpSink:
    """``answer`` may return an SMTP reply for a recipient in place of 250."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    answer: Callable[[str], str | None] = lambda _: None
    logins: int = 0

    def to(self, recipient: str) -> list[Mail]:
        return [mail for mail in self.mails if recipient in mail.recipients]

    def authenticator(self, logins: Mapping[str, str]) -> Callable[..., AuthResult]:
        def decide(_server: Any, _session: Any, _envelope: Any, _how: str, data: Any) -> AuthResult:
            self.logins += 1
            known = logins.get(data.login.decode()) == data.password.decode()
            return AuthResult(success=known, handled=False)

        return decide

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        refusal = self.answer(address)
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 taken"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        mail = Mail(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content)
        self.mails.append(mail)
        return f"250 queued as {len(self.mails)}"


@asynccontextmanager
async def smtp_sink(
    sink: SmtpSink | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    logins: Mapping[str, str] | None = None,
) -> AsyncIterator[SmtpSink]:
    """Serve *sink* (on its port, if it had one) until the block ends.

    *tls* demands STARTTLS, or TLS from the first byte if *implicit*; *logins* demands one of them.
    """
    sink = sink or SmtpSink()
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            # It knows of STARTTLS only, and warns of logins without it.
            warnings.simplefilter("ignore", UserWarning)
            return SMTP(
                sink,
                hostname="sink.test",
                loop=loop,
                tls_context=None if implicit else tls,
                require_starttls=bool(tls) and not implicit,
                auth_required=logins is not None,
                auth_require_tls=not implicit,
                authenticator=sink.authenticator(logins or {}),
            )

    server = await loop.create_server(
        protocol, "127.0.0.1", sink.port, ssl=tls if implicit else None
    )
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
