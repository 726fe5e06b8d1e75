"""Who may touch which subject: the least that each service needs, and nothing of its neighbours."""

import pytest

from shared.contracts.base import registry
from shared.migrate import head
from shared.topology import CONSUMERS, IDENTITIES, SERVICES, STREAMS, consumer, permissions
from tocsin.nats_config import new_nkey_seed, public_key, render_authorization

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_publishes_only_under_its_own_name(service: str) -> None:
    allowed = permissions(service)
    business = [s for s in allowed.publish if s.startswith("tocsin.")]
    assert f"tocsin.v1.{service}.>" in business
    assert all(s.startswith((f"tocsin.v1.{service}.", "tocsin.v1.dlq.")) for s in business)
    assert list(allowed.subscribe) == [f"_INBOX_{service}.>"]
    assert not any(
        verb in subject
        for subject in allowed.publish
        for verb in ("STREAM.CREATE", "STREAM.DELETE", "STREAM.PURGE", "CONSUMER.CREATE", "API.>")
    )


def test_every_consumer_reads_a_stream_that_takes_its_subject() -> None:
    streams = {stream.name: stream for stream in STREAMS}
    for spec in CONSUMERS:
        patterns = [p.rstrip(">") for p in streams[spec.stream].subjects]
        assert any(spec.filter_subject.rstrip(">").startswith(p) for p in patterns), spec
        assert consumer(spec.durable) is spec
        assert (
            f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}"
            in permissions(spec.service).publish
        )


def test_every_contract_belongs_to_the_service_its_subject_names() -> None:
    for subject, contract in registry().items():
        assert contract.__module__ == f"shared.contracts.{subject.split('.')[2]}"


def test_the_configuration_names_every_identity_once() -> None:
    keys = {identity: public_key(new_nkey_seed()) for identity in IDENTITIES}
    text = render_authorization(keys)
    assert all(text.count(key) == 1 for key in keys.values())
    with pytest.raises(KeyError):
        permissions("stranger")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_expects_its_newest_migration(service: str) -> None:
    module = __import__(f"services.{service}.migrations", fromlist=["HEAD"])
    assert head(service) == module.HEAD
