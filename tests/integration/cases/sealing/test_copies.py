"""Cases erases and escalate and notify follow: the three services, one broker (ADR 0023)."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from services.cases.app import create_app as cases_app
from services.cases.settings import Settings as CasesSettings
from services.escalate.app import create_app as escalate_app
from services.escalate.settings import Settings as EscalateSettings
from services.notify.app import create_app as notify_app
from services.notify.settings import Settings as NotifySettings
from tests.integration.cases.conversation import TEAM, People
from tests.integration.cases.sealing.test_erasures import erase
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import DIRECTORY

pytestmark = pytest.mark.integration


async def does(people: People, person: str, incident: str, verb: str, **body: Any) -> None:
    """Give a command until it is accepted: facts of escalate make the version stale meanwhile."""

    async def accepted() -> bool:
        answer = await people.send(person, incident, verb, body)
        assert answer.status_code in (200, 412), answer.text
        return answer.status_code == 200

    await until(accepted)


async def confirmed(people: People) -> str:
    """Return an incident that is confirmed while others tell of it."""
    incident = await people.opened()
    factors = {"functional": "low", "informational": "privacy_breach", "recoverability": "extended"}
    words = {"summary": "Root guessed", "potential_impact": "One tenant"}
    await does(people, "sam", incident, "set-severity", level="SEV3")
    await does(people, "sam", incident, "set-priority", priority="P2", **factors)
    await does(people, "sam", incident, "escalate", owning_team="sr-eu")
    await does(people, "rita", incident, "form-v-team", members=TEAM, lead="rita")
    await does(people, "sam", incident, "record-summary", **words)
    await does(people, "rita", incident, "confirm", rationale="real", justification="plain")
    return incident


async def copied(world: World, service: str, query: str, incident: str) -> Any:
    async with world.engine(service).connect() as connection:
        return await connection.scalar(text(query), {"id": incident})


async def test_what_cases_erases_is_erased_where_it_was_copied_to(
    world: World, tmp_path: Path
) -> None:
    directory = tmp_path / "directory.yml"
    directory.write_text(DIRECTORY)
    titles = "SELECT title FROM incidents WHERE id = :id"
    facts = "SELECT facts FROM incidents WHERE incident_id = :id"
    async with (
        world.running(cases_app(world.settings(CasesSettings, record_retention_days=0))) as client,
        world.running(escalate_app(world.settings(EscalateSettings, directory_file=directory))),
        world.running(notify_app(world.settings(NotifySettings))),
    ):
        people = People(world, client)
        incident = await confirmed(people)
        title = (await people.shown(incident))["title"]

        async def there() -> bool:
            told = await copied(world, "notify", facts, incident) or ""
            return await copied(world, "escalate", titles, incident) == title and title in told

        await until(there)
        await does(people, "rita", incident, "retract-confirmation", reason="a drill")
        verdict = {"classification": "false_positive", "reason": "a drill"}
        await does(people, "rita", incident, "dismiss", **verdict)
        answer = await erase(people, incident_id=incident)
        assert answer.status_code == 200, answer.text

        async def gone() -> bool:
            told = await copied(world, "notify", facts, incident)
            return (
                await copied(world, "escalate", titles, incident) == "[erased]"
                and title not in told
                and "Root guessed" not in told
                and "[erased]" in told
            )

        await until(gone)
