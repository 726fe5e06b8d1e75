"""Records of Linux auditd as they lie in audit.log, or come through audisp's syslog plugin."""

import re

__all__ = ["parse_audit"]

_HEAD = re.compile(
    r"(?:node=(?P<node>\S+) )?type=(?P<type>[A-Z0-9_\[\]]+)"
    r" msg=audit\((?P<time>\d{1,12}\.\d{1,3}):(?P<id>\d{1,20})\):\s*(?P<rest>.*)",
    re.S,
)
_PAIR = re.compile(r"([A-Za-z0-9_-]+)=(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
# audit encodes in hex what holds a blank, a quote or a control character (auditd's untrusted
# strings): only in these fields, and only where no quotes stand around it.
_UNTRUSTED = re.compile(r"a\d{1,3}|a\d{1,3}\[\d+\]|name|exe|comm|cwd|cmd|proctitle|key|acct|data")
_HEX = re.compile(r"(?:[0-9A-F]{2})+")


def parse_audit(line: str) -> dict[str, object] | None:
    """Return the fields of a record: ``type``, ``audit_id`` (``time:serial``), ``node`` where given
    and its own, with the inner ones of ``msg='…'``; None where *line* is none.

    Behind the group separator stand the enriched forms (``SYSCALL=openat``).
    """
    head = _HEAD.fullmatch(line)
    if head is None:
        return None
    fields: dict[str, object] = {"type": head["type"], "audit_id": f"{head['time']}:{head['id']}"}
    if head["node"]:
        fields["node"] = head["node"]
    _add(fields, head["rest"].replace("\x1d", " "))
    return fields


def _add(fields: dict[str, object], text: str) -> None:
    for name, double, single, bare in _PAIR.findall(text):
        if name == "msg" and single:
            _add(fields, single)
        elif bare and _UNTRUSTED.fullmatch(name) and len(bare) > 1 and _HEX.fullmatch(bare):
            decoded = bytes.fromhex(bare).replace(b"\0", b" ").decode("utf-8", "replace")
            # A plain number (a0=7 of SYSCALL, in hex too) is no text.
            fields.setdefault(name, decoded if decoded.isprintable() else bare)
        else:
            fields.setdefault(name, double or single or bare)
