"""Free TCP ports on the loopback interface."""

import secrets
import socket

from tocsin.embedded.errors import PlatformError

LOOPBACK = "127.0.0.1"
# Below the range that Linux and macOS give to outgoing connections: no client can be handed
# the port in between a stop and the next start.
_FIRST, _LAST = 12_000, 32_000
_TRIES = 200


def claim_port(wanted: int | None, what: str) -> int:
    """Return `wanted` if nobody listens there, or a random free port for None and 0."""
    if wanted:
        if not is_free(wanted):
            raise PlatformError(f"Port {wanted} for {what} is taken by another program.")
        return wanted
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if is_free(port):
            return port
    raise PlatformError(f"No free port for {what} was found on {LOOPBACK}.")


def is_free(port: int) -> bool:
    """Could a server listen on this port now?"""
    with socket.socket() as probe:
        # As the servers do it: connections that are still closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
