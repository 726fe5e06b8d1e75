"""Mail over TLS to a real server: verified before anything is said, or not at all."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from services.notify.channel import DeliveryError, Notification
from services.notify.email import EmailChannel
from services.notify.settings import Settings
from shared.clock import utc_now
from shared.ids import uuid7
from tests.support.authority import Authority
from tests.support.smtp_sink import SmtpSink, smtp_sink

pytestmark = pytest.mark.integration
LOGIN = {"notify": "pass word"}


def notice() -> Notification:
    return Notification(
        id=uuid7(),
        incident_id=uuid7(),
        tenant="delta",
        recipients=["soc@delta.example"],
        subject="Notice",
        text="Dear customer\n",
        body="{}",
        created_at=utc_now(),
    )


def channel(
    sink: SmtpSink, security: Literal["tls", "starttls", "none"] | None, **more: Any
) -> EmailChannel:
    if security is not None:
        more["smtp_security"] = security
    more = {"smtp_host": "localhost", "smtp_port": sink.port, "sender": "s@op.example", **more}
    return EmailChannel(Settings(**more))


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_mail_goes_by_tls_with_a_login(
    tmp_path: Path, security: Literal["tls", "starttls"]
) -> None:
    authority = Authority(tmp_path, "ca")
    tls = authority.server("localhost")
    async with smtp_sink(tls=tls, implicit=security == "tls", logins=LOGIN) as sink:
        more: dict[str, Any] = {"smtp_ca_file": authority.path, "smtp_user": "notify"}
        right = channel(sink, security, smtp_password=SecretStr(LOGIN["notify"]), **more)
        assert "250" in (await right.send(notice())).answer
        assert len(sink.mails) == sink.logins == 1
        wrong = channel(sink, security, smtp_password=SecretStr("guess"), **more)
        with pytest.raises(DeliveryError) as refused:
            await wrong.send(notice())
        # The operator's to mend, not the tenant's: it is tried again.
        assert refused.value.retryable
        assert "guess" not in refused.value.answer
        assert len(sink.mails) == 1


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("why", ["another authority", "another name"])
async def test_a_server_that_is_not_the_one_is_told_nothing(
    tmp_path: Path, security: Literal["tls", "starttls"], why: str
) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    tls = other.server("localhost") if why == "another authority" else ours.server("else.example")
    async with smtp_sink(tls=tls, implicit=security == "tls", logins=LOGIN) as sink:
        login = {"smtp_user": "notify", "smtp_password": SecretStr(LOGIN["notify"])}
        with pytest.raises(DeliveryError) as refused:
            await channel(sink, security, smtp_ca_file=ours.path, **login).send(notice())
        assert "certificate verify failed" in refused.value.answer.lower()
        assert refused.value.retryable
        assert (sink.mails, sink.logins) == ([], 0)


@pytest.mark.parametrize("security", [None, "starttls", "tls"])
async def test_a_server_without_tls_gets_no_mail_unless_plain_is_set(
    security: Literal["tls", "starttls"] | None,
) -> None:
    async with smtp_sink() as sink:
        with pytest.raises(DeliveryError) as refused:
            await channel(sink, security).send(notice())  # None: what holds if nothing is set
        assert refused.value.retryable
        assert sink.mails == []
        await channel(sink, "none").send(notice())
        assert len(sink.mails) == 1
