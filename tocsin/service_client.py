"""Calls to a service of the platform in the operator's name; a refusal is a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from shared.errors import UserError
from shared.identity import Role
from tocsin.home import Home
from tocsin.tokens import LocalIssuer

__all__ = ["RefusedError", "checked", "client_for"]


class RefusedError(UserError):
    """The service said no; the message is its own."""


@contextmanager
def client_for(
    home: Home, service: str, url: str | None, token: str | None, role: Role
) -> Iterator[httpx.Client]:
    """Yield a client of *service*: the running platform's, unless *url* and *token* say another.

    Without *token* the platform's own issuer makes one of *role* for ``tocsin``.
    """
    address = url or home.running().urls[service]
    if token is None:
        if not home.keys.is_dir():
            raise UserError("No token: give --token, or set TOCSIN_TOKEN.")
        token = LocalIssuer(home.keys).issue("tocsin", [role])
    with httpx.Client(
        base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=120
    ) as client:
        yield client


def checked(answer: httpx.Response) -> Any:
    """Return the answer's JSON; RefusedError with what the service says."""
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{answer.status_code} {answer.reason_phrase}"
    raise RefusedError(detail)
