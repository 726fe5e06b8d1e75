"""A review whose opening was cut off is opened by the service later, and a rebuild finds it."""

from uuid import UUID

import pytest

from services.cases.domain.events import ReviewStarted
from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from services.cases.rebuild import rebuild
from services.cases.review.opener import Opener, open_review
from services.cases.review.queries import ReviewQueries
from shared.ids import uuid7
from tests.integration.cases.conversation import People
from tests.support.incidents import NOW, SR

pytestmark = pytest.mark.integration


async def test_what_was_started_and_not_opened_is_opened_once(people: People) -> None:
    incident, first = await people.in_review()
    await people.signed_off(first)
    await people.does("rita", incident, "close")
    await people.does("rita", incident, "reopen", reason="again", new_information_ref="ticket 1")
    engine = people.world.engine("cases")
    vault = people.world.vault
    store, projector = PostgresStore(engine, vault), Projector(engine, vault)
    # The process dies right after start-review: the incident says so, the review has no log.
    started = uuid7()
    history = await store.read(UUID(incident))
    await store.append(
        UUID(incident),
        [ReviewStarted(actor=SR, at=NOW, review_id=started)],
        expected=history.version,
        command_id=uuid7(),
        digest="d" * 64,
    )
    while await projector.once():
        pass
    assert (await people.get("anna", f"/v1/reviews/{started}")).json()["state"] in {
        "started",
        "open",  # the service's own opener may have been here first
    }
    queries = ReviewQueries(engine)
    await Opener(store, queries, lambda: None).once()
    again = await open_review(store, UUID(incident), lambda: None)
    assert again is not None
    assert (again.stream_id, again.version) == (started, 1)
    while await projector.once():
        pass
    assert await queries.unopened() == []
    rebuilt = await rebuild(engine, vault)
    assert rebuilt.differing == []


async def test_start_review_given_twice_answers_the_same_review(people: People) -> None:
    incident, review = await people.in_review()
    again = await people.does("rita", incident, "start-review")
    assert again["events"] == []
    assert again["created"]["review_id"] == review
