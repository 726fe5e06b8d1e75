"""What the demo sends: an ordinary quarter of an hour of a small service, and an attack in it."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

__all__ = ["ATTACKED", "BROKEN", "attack_events", "attack_lines", "benign_events", "benign_lines"]

ATTACKED = "api-dub2-01"
INTRUDER = "203.0.113.66"
ACTIONS = (
    "session.start", "customers.list", "customers.view", "invoice.created", "report.viewed",
    "session.end",
)  # fmt: skip
BROKEN = b'{"action": "customers.view", "host": "api-dub2-02"\nno json at all\n[1, 2, 3]'


def _event(at: datetime, host: str, user: str, ip: str, **fields: object) -> bytes:
    event = {
        "time": at.isoformat(),
        "host": host,
        "username": user,
        "src_ip": ip,
        "outcome": "success",
        "actor": {"id": user, "type": "user"},
        **fields,
    }
    return json.dumps(event).encode()


def benign_events(count: int, until: datetime) -> Iterator[bytes]:
    """Yield *count* audit events of people at work, evenly over the last quarter of an hour."""
    for n in range(count):
        at = until - timedelta(minutes=15) * (count - n) / count
        host = ("api-dub2-01", "api-dub2-02", "api-iad1-01")[n % 3]
        user, ip = f"user{n % 97:02}", f"198.51.100.{n % 200 + 1}"
        action = ACTIONS[n % len(ACTIONS)]
        yield _event(at, host, user, ip, action=action, records=n % 40, request=f"r-{n:06}")


def attack_events(until: datetime) -> Iterator[bytes]:
    """Yield what the intruder did in the service: from one stolen account to a mass export."""
    steps: tuple[dict[str, object], ...] = (
        {"action": "session.start"},
        {"action": "user.mfa.disabled", "target": {"id": "m.adler"}},
        {"action": "role.granted", "target": {"id": "m.adler", "role": "admin"}},
        {"action": "impersonation.started", "target": {"tenant": "fabrikam"}},
        {"action": "customers.export", "records": 250_000, "resource": {"type": "customer_list"}},
        {"action": "audit_log.disabled"},
    )
    for n, step in enumerate(steps):
        at = until - timedelta(minutes=9) + timedelta(seconds=70 * n)
        yield _event(at, ATTACKED, "m.adler", INTRUDER, **step)


def _line(at: datetime, host: str, pid: int, message: str) -> str:
    return f"<86>1 {at.isoformat()} {host} sshd {pid} - - {message}"


def benign_lines(count: int, until: datetime) -> Iterator[str]:
    """Yield *count* lines of sshd: keys accepted, sessions closed."""
    for n in range(count):
        at = until - timedelta(minutes=15) * (count - n) / count
        host = ("api-dub2-01", "mail-dub1-01", "id-dub1-01")[n % 3]
        yield _line(
            at,
            host,
            4000 + n,
            f"Accepted publickey for deploy from 10.0.7.{n % 50 + 1} port 50{n:03}",
        )


def attack_lines(until: datetime) -> Iterator[str]:
    """Yield how the intruder got in: passwords tried, one of them root's."""
    begin = until - timedelta(minutes=12)
    for n in range(6):
        message = f"Failed password for root from {INTRUDER} port 404{n} ssh2"
        yield _line(begin + timedelta(seconds=4 * n), ATTACKED, 9000 + n, message)
    entered = f"Accepted password for root from {INTRUDER} port 4049 ssh2"
    yield _line(begin + timedelta(seconds=30), ATTACKED, 9010, entered)
