"""Receivers that are down, slow, picky or hostile: every message once, or a reason on record."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.notify import ledger
from services.notify.channel import DeliveryError, Notification, Proof
from services.notify.ledger import Outcome
from services.notify.webhook import WebhookChannel
from shared.clock import utc_now
from shared.contracts.notify import CustomersNotifiedV1, NotificationSentV1
from shared.db import create_engine
from shared.egress import AllowList, system_resolver
from shared.ids import uuid7
from shared.settings import require
from tests.integration.notify.stage import Desk, Stage, confirmed, scoped
from tests.support.authority import Authority
from tests.support.smtp_sink import smtp_sink
from tests.support.waiting import until
from tests.support.webhook_sink import WebhookSink, new_webhook_secret, webhook_sink

pytestmark = pytest.mark.integration


async def approved(stage: Stage, desk: Desk, *servers: str) -> UUID:
    """Bring an incident over *servers* to the moment after the second signature."""
    incident = uuid7()
    await stage.say(confirmed(incident), scoped(incident, *servers))
    listed = await desk.newest_list(incident)
    answer = await desk.approve(listed["list_id"])
    assert answer.status_code == 200, answer.text
    return incident


async def attempted(desk: Desk, incident: UUID, times: int = 1) -> dict[str, Any]:
    """Return the incident's only notification once that many attempts have ended."""

    async def probe() -> Any:
        (found,) = (await desk.notifications(incident)).values()
        ended = [a for a in found["attempts"] if a["outcome"]]
        return found if len(ended) >= times and found["state"] != "sending" else None

    found: dict[str, Any] = await until(probe)
    return found


async def test_a_mail_server_that_is_down_is_tried_again_and_told_once(stage: Stage) -> None:
    async with smtp_sink() as gone:
        pass  # the port is known, nobody listens
    async with stage.running(smtp_port=gone.port) as desk:
        incident = await approved(stage, desk, "m3")
        down = await attempted(desk, incident)
        assert down["state"] == "pending"
        assert down["attempts"][0]["outcome"] == "retry"
        assert "Connect" in down["last_error"]
        assert await stage.published(incident, CustomersNotifiedV1) == []
        async with smtp_sink(gone) as back:
            stage.clock.wind(minutes=10)
            sent = await desk.all_are(incident, "sent")
            assert len(back.mails) == 1
            assert [a["outcome"] for a in sent["delta", "email"]["attempts"]] == ["retry", "sent"]
            await until(lambda: stage.published(incident, CustomersNotifiedV1))


async def test_a_relay_that_is_away_is_left_alone_and_nothing_is_lost(stage: Stage) -> None:
    async with smtp_sink() as gone:
        pass  # the port is known, nobody listens
    async with stage.running(smtp_port=gone.port) as desk:

        async def states() -> set[str]:
            """Return the states; time goes on to the next attempt, but not beyond a lease."""
            found = {n["state"] for n in (await desk.notifications(incident)).values()}
            if "sending" not in found:
                stage.clock.wind(seconds=10)
            return found

        async def is_paused() -> bool:
            await states()
            said = (await desk.client.get("/metrics")).text
            return 'tocsin_notify_relay_paused{channel="email"} 1.0' in said

        incident = await approved(stage, desk, "m1", "m2", "m3")
        await until(is_paused)
        waiting = (await desk.notifications(incident)).values()
        assert {n["state"] for n in waiting if n["channel"] == "email"} <= {"pending", "sending"}
        async with smtp_sink(gone) as back:

            async def all_sent() -> bool:
                return await states() == {"sent"}

            await until(all_sent)
            assert len(back.mails) == 3
            sent = await desk.all_are(incident, "sent")
        assert not await is_paused()
        # What the relay did not answer was no attempt of a mail: it used none of them up.
        assert [n["attempts"][-1]["attempt"] for n in sent.values()] == [1] * 5


async def test_an_overtaken_attempt_is_told_from_the_one_that_overtook_it(stage: Stage) -> None:
    async with smtp_sink() as gone:
        pass  # the port is known, nobody listens
    async with stage.running(smtp_port=gone.port) as desk:
        await attempted(desk, await approved(stage, desk, "m3"))
    settings, now = stage.settings(), stage.clock() + timedelta(days=1)
    engine = create_engine(require(settings, "database_url"), "notify")
    async with engine.begin() as connection:
        (lease,) = await ledger.take(
            connection, now, timedelta(seconds=60), channels=["email"], most=1
        )
        before = replace(lease, fence=lease.fence - 1)
        outcomes = [
            Outcome(lease=before, answer=Proof("taken after its lease had ended")),
            Outcome(lease=lease, answer=DeliveryError("refused", retryable=False)),
        ]
        ours = await ledger.finish(connection, outcomes, now)
    await engine.dispose()
    assert ours == {(lease.notification.id, lease.fence)}


async def test_accepted_but_not_recorded_is_sent_again_under_the_same_id(stage: Stage) -> None:
    """§2.6 row 19: the receiver took it, and we died before we could write so."""
    stage.hooks.gate = asyncio.Event()
    async with stage.running() as desk:
        incident = uuid7()
        await stage.say(confirmed(incident), scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        await desk.approve(listed["list_id"])
        await until(lambda: stage.hooks.at("/beta"))
    # The service ended while the receiver had the message and no answer had come back.
    stage.hooks.gate.set()
    stage.hooks.gate = None
    async with stage.running() as desk:
        assert (await desk.notifications(incident))["beta", "webhook"]["state"] == "sending"
        stage.clock.wind(seconds=61)  # the lease runs out
        sent = await desk.all_are(incident, "sent")
        first, second = stage.hooks.at("/beta")
        assert first.id == second.id == sent["beta", "webhook"]["notification_id"]
        assert first.body == second.body
        attempts = sent["beta", "webhook"]["attempts"]
        assert [(a["fence"], a["outcome"]) for a in attempts] == [(1, None), (2, "sent")]
        messages = await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert len(messages) == 1
        assert len(await stage.published(incident, NotificationSentV1)) == 2


async def test_what_is_on_its_way_when_the_service_stops_is_seen_through(stage: Stage) -> None:
    stage.hooks.gate = asyncio.Event()
    async with stage.running() as desk:
        incident = await approved(stage, desk, "m2")
        await until(lambda: stage.hooks.at("/gamma"))
        # The receiver answers while the service stops.
        asyncio.get_running_loop().call_later(0.5, stage.hooks.gate.set)
    stage.hooks.gate = None
    async with stage.running() as desk:
        sent = await desk.all_are(incident, "sent")
        assert [a["outcome"] for a in sent["gamma", "webhook"]["attempts"]] == ["sent"]
    assert len(stage.hooks.at("/gamma")) == 1


async def test_what_was_taken_is_recorded_once_the_database_is_back(stage: Stage) -> None:
    stage.hooks.gate = asyncio.Event()
    async with stage.running() as desk:
        incident = await approved(stage, desk, "m2")
        await until(lambda: stage.hooks.at("/gamma"))
        # The database admits nobody for longer than one try takes.
        cluster = stage.world.cluster
        await cluster.sql("ALTER ROLE tocsin_notify NOLOGIN")
        await cluster.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tocsin_notify'"
        )
        stage.hooks.gate.set()
        loop = asyncio.get_running_loop()
        let_in = loop.time() + 2.5
        await until(lambda: loop.time() > let_in)
        await cluster.sql("ALTER ROLE tocsin_notify LOGIN")
        await desk.all_are(incident, "sent")
    stage.hooks.gate = None
    assert len(stage.hooks.at("/gamma")) == len(stage.smtp.to("it@gamma.example")) == 1


async def test_two_instances_never_send_the_same_message_at_once(stage: Stage) -> None:
    async with stage.running() as desk, stage.running(dispatch_workers=8):
        incidents = [await approved(stage, desk, "m1", "m2", "m3") for _ in range(4)]
        for incident in incidents:
            await desk.all_are(incident, "sent")
            done = await until(lambda i=incident: stage.published(i, CustomersNotifiedV1))  # type: ignore[misc]  # a probe
            assert len(done) == 1
    ids = [call.id for call in stage.hooks.received] + [mail.id for mail in stage.smtp.mails]
    assert len(ids) == len(set(ids)) == 4 * 5


async def test_each_recipient_has_its_own_fate(stage: Stage) -> None:
    answers = {"privacy@alpha.example": "451 later"}
    stage.smtp.answer = answers.get
    async with stage.running() as desk:
        incident = uuid7()
        await stage.say(confirmed(incident), scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        await desk.approve(listed["list_id"])

        async def deferred() -> Any:
            found = (await desk.notifications(incident))["alpha", "email"]
            return found if found["state"] == "pending" and found["attempts"] else None

        waiting = await until(deferred)
        assert waiting["attempts"][0]["recipients"]["privacy@alpha.example"] == "451 later"
        answers.clear()
        stage.clock.wind(minutes=10)
        sent = await desk.all_are(incident, "sent")
        (first,) = stage.smtp.to("security@alpha.example")
        (second,) = stage.smtp.to("privacy@alpha.example")
        assert first.id == second.id
        assert first.raw.replace(b"\r\n", b"\n") == second.raw.replace(b"\r\n", b"\n")
        assert len(sent["alpha", "email"]["attempts"]) == 2


async def test_a_recipient_that_is_refused_for_good_fails_and_can_be_tried_again(
    stage: Stage,
) -> None:
    answers = {"soc@delta.example": "550 no such user"}
    stage.smtp.answer = answers.get
    async with stage.running() as desk:
        incident = await approved(stage, desk, "m3")
        failed = await attempted(desk, incident)
        assert failed["state"] == "failed"
        assert "550 no such user" in failed["last_error"]
        assert await stage.published(incident, CustomersNotifiedV1) == []
        answers.clear()
        path = f"/v1/notifications/{failed['notification_id']}/retry"
        assert (await desk.call("POST", path)).json()["state"] == "pending"
        await desk.all_are(incident, "sent")
        assert (await desk.call("POST", path)).status_code == 409
        await until(lambda: stage.published(incident, CustomersNotifiedV1))


async def only_beta(stage: Stage, desk: Desk) -> UUID:
    """Approve a list whose only tenant is beta, which has only a webhook."""
    text = stage.file.read_text().replace("  - {tenant: alpha, server: m1, data: [personal]}\n", "")
    stage.file.write_text(text)

    async def taken() -> bool:
        return bool((await desk.get("/v1/inventory"))["counts"].get("placements") == 3)

    await until(taken)
    return await approved(stage, desk, "m1")


async def test_a_webhook_that_fails_is_tried_again_no_earlier_than_it_asks(stage: Stage) -> None:
    stage.hooks.answers = [(503, {"retry-after": "7200"}), (500, {})]
    async with stage.running() as desk:
        incident = await only_beta(stage, desk)
        waiting = await attempted(desk, incident)
        assert "HTTP 503" in waiting["last_error"]
        ended = datetime.fromisoformat(waiting["attempts"][0]["finished_at"])
        again = datetime.fromisoformat(waiting["next_attempt_at"])
        assert again - ended == timedelta(hours=2)
        stage.clock.wind(hours=2)
        assert "HTTP 500" in (await attempted(desk, incident, 2))["last_error"]
        stage.clock.wind(minutes=5)
        await desk.all_are(incident, "sent")
    assert len({call.id for call in stage.hooks.at("/beta")}) == 1
    assert len(stage.hooks.at("/beta")) == 3


async def test_a_redirect_is_never_followed_and_gone_means_stop(stage: Stage) -> None:
    async with webhook_sink() as inner:
        stage.hooks.answers = [
            (302, {"location": f"http://{inner.end}/beta"}),
            (307, {"location": "http://169.254.169.254/"}),
            (410, {}),
        ]
        async with stage.running() as desk:
            incident = await only_beta(stage, desk)
            assert "HTTP 302" in (await attempted(desk, incident))["last_error"]
            stage.clock.wind(minutes=1)
            assert "HTTP 307" in (await attempted(desk, incident, 2))["last_error"]
            stage.clock.wind(minutes=10)
            gone = await attempted(desk, incident, 3)
            assert (gone["state"], gone["attempts"][-1]["outcome"]) == ("failed", "failed")
        assert inner.received == []
        assert inner.unverified == []


async def test_a_private_end_is_refused_without_a_connection(stage: Stage) -> None:
    async with stage.running(webhook_allow=[]) as desk:
        incident = await only_beta(stage, desk)
        failed = await attempted(desk, incident)
        assert failed["state"] == "failed"
        assert failed["last_error"].startswith("refused:")
    assert stage.hooks.received == []
    assert stage.hooks.unverified == []


def notification(url: str) -> Notification:
    return Notification(
        id=uuid7(),
        incident_id=uuid7(),
        tenant="beta",
        recipients=[url],
        subject="",
        text="",
        body="{}",
        created_at=utc_now(),
    )


async def test_a_body_that_never_ends_does_not_undo_an_acceptance() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi")
        await writer.drain()
        await reader.read()  # until the other side gives up
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        secret = new_webhook_secret()
        channel = WebhookChannel(
            allow=AllowList.parse([f"127.0.0.1:{port}"]),
            resolve=system_resolver,
            secret_of=lambda _tenant, _ref: secret,
            clock=utc_now,
        )
        proof = await channel.send(notification(f"http://127.0.0.1:{port}/"))
        assert "HTTP 200" in proof.answer
        assert proof.answer.endswith("hi")


async def test_the_address_that_was_checked_is_the_one_connected_to(tmp_path: Path) -> None:
    """DNS rebinding: the name is asked once; TLS and Host still carry the name."""
    secret = new_webhook_secret()
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.255.255.1"]

    authority = Authority(tmp_path, "ca")
    tls = authority.server("hooks.tenant.example")
    async with webhook_sink(WebhookSink({"/x": secret}), tls=tls) as sink:
        channel = WebhookChannel(
            allow=AllowList.parse([f"hooks.tenant.example:{sink.port}"]),
            resolve=resolve,
            secret_of=lambda _tenant, _ref: secret,
            clock=utc_now,
            ca_file=authority.path,
        )
        proof = await channel.send(notification(f"https://hooks.tenant.example:{sink.port}/x"))
        assert "HTTP 204" in proof.answer
        assert asked == ["hooks.tenant.example"]
        assert sink.received[0].headers["host"] == f"hooks.tenant.example:{sink.port}"
        # Another name at the same address: the certificate does not fit, nothing is sent.
        asked.clear()
        other = WebhookChannel(
            allow=AllowList.parse([f"other.example:{sink.port}"]),
            resolve=resolve,
            secret_of=lambda _tenant, _ref: secret,
            clock=utc_now,
            ca_file=authority.path,
        )
        with pytest.raises(DeliveryError) as refusal:
            await other.send(notification(f"https://other.example:{sink.port}/x"))
        assert "certificate" in refusal.value.answer.lower()
        assert len(sink.received) == 1
