"""What is tried again: the database failed, not what it was asked."""

import asyncpg
import pytest

from shared.db import is_transient

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation is in progress"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
def test_a_connection_that_broke_is_tried_again(error: Exception) -> None:
    assert is_transient(error)


def test_what_can_never_be_stored_is_not() -> None:
    assert not is_transient(asyncpg.NotNullViolationError("null"))
    assert not is_transient(ValueError("ours"))
