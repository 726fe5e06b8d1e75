"""Every route of every service demands a role, or is one of the few that answer anybody."""

from importlib import import_module
from typing import Any

import pytest
from pydantic import SecretStr

from shared.auth import is_guarded
from shared.topology import SERVICES
from tests.support.sealing import master_key

pytestmark = pytest.mark.contract
OPEN = {"/livez", "/readyz", "/startupz", "/metrics", "/openapi.json"}
# A load balancer asks a collector for its health, a webhook's sender for consent: without a key.
OPEN_OF = {
    # A customer's status, the link in a page: the address is the key.
    "escalate": {"/v1/case-status/{secret}", "/v1/ack/{token}", "/v1/set-severity/{token}"},
    "notify": {"/v1/feeds/{secret}.ics"},  # calendars send no token: the address is the key
    "ingest": {
        "/services/collector/health",
        "/services/collector/health/1.0",
        "/v1/cloudevents",  # OPTIONS only
    },
}


def app_of(service: str) -> Any:
    settings = import_module(f"services.{service}.settings").Settings
    create = import_module(f"services.{service}.app").create_app
    keys = {"master_key_file": master_key()} if "master_key_file" in settings.model_fields else {}
    url = SecretStr("postgresql://nobody@127.0.0.1:1/none")
    return create(settings(database_url=url, **keys))


def routes_of(app: Any) -> list[Any]:
    found, pending = [], list(app.routes)
    while pending:
        route = pending.pop()
        nested = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        if nested:
            pending += nested
        else:
            found.append(route)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_is_guarded(service: str) -> None:
    routes = routes_of(app_of(service))
    assert len(routes) > len(OPEN)
    unguarded = [r.path for r in routes if not is_guarded(r)]
    assert unguarded == []
    public = {r.path for r in routes if getattr(r.endpoint, "__tocsin_public__", False)}
    assert public == OPEN | OPEN_OF.get(service, set())
    assert all(
        r.methods == {"OPTIONS"}
        for r in routes
        if r.path == "/v1/cloudevents" and getattr(r.endpoint, "__tocsin_public__", False)
    )


@pytest.mark.parametrize("service", SERVICES)
def test_the_api_describes_itself(service: str) -> None:
    paths = app_of(service).openapi()["paths"]
    assert "/readyz" in paths
    assert all(
        "summary" in operation for methods in paths.values() for operation in methods.values()
    )
