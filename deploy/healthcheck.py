"""Ask the service of this container on one of its probes; exit code 0, or 1 and a sentence."""

import http.client
import os
import sys
from collections.abc import Mapping
from pathlib import Path

# tests/contract/deploy holds these against the settings classes; importing those here would cost
# half a second of a core at every check.
PORTS = {"ingest": 8080, "detect": 8081, "escalate": 8082, "cases": 8083, "notify": 8084}


def service_of(command: bytes) -> str | None:
    """Return the service that a process runs, from its NUL-separated command line."""
    for word in command.split(b"\0"):
        if word.startswith(b"services."):
            return word.removeprefix(b"services.").decode()
    return None


def port_of(service: str, environment: Mapping[str, str]) -> int:
    """Return the port the service listens on: its own setting, the common one, the default."""
    for variable in (f"TOCSIN_{service.upper()}_PORT", "TOCSIN_PORT"):
        if variable in environment:
            return int(environment[variable])
    return PORTS[service]


def check(probe: str) -> str | None:
    """Return what is wrong, or None. A container that runs no service has nothing to answer."""
    service = service_of(Path("/proc/1/cmdline").read_bytes())
    if service is None:
        return None
    connection = http.client.HTTPConnection("127.0.0.1", port_of(service, os.environ), timeout=4)
    try:
        connection.request("GET", probe)
        answer = connection.getresponse()
        text = answer.read(2048).decode("utf-8", "replace")
    except OSError as error:
        return f"{service}: {error}"
    finally:
        connection.close()
    return None if answer.status == 200 else f"{service}: {answer.status} {text}"


if __name__ == "__main__":
    sys.exit(check(sys.argv[1] if len(sys.argv) > 1 else "/livez"))
