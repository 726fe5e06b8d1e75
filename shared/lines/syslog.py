"""Syslog and authentication lines (RFC 5424, RFC 3164, journald's short ISO form) into fields.

The line itself stays what it was; these fields stand beside it so that rules can name them.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from shared.lines.access_log import parse_access
from shared.lines.auditd import parse_audit
from shared.lines.cef import find_cef_or_leef

__all__ = ["parse_line"]

_PRIORITY = re.compile(r"<(\d{1,3})>")
_RFC5424 = re.compile(
    r"1 (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) (?P<pid>\S+) (?P<msgid>\S+) (?P<rest>.*)", re.S
)
_ISO = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)"
    r" (?P<host>\S+) (?P<tail>.*)",
    re.S,
)
_RFC3164 = re.compile(
    r"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?P<host>\S+) (?P<tail>.*)", re.S
)
_TAG = re.compile(r"(?P<app>[^\s:\[]{1,64})(?:\[(?P<pid>[^\]]{1,32})\])?: ?(?P<message>.*)", re.S)
_ELEMENT = re.compile(r'\[(?P<id>[^ =\]"]+)(?P<params>(?: [^ =\]"]+="(?:[^"\\\]]|\\.)*")*)\]')
_PARAM = re.compile(r' ([^ =\]"]+)="((?:[^"\\\]]|\\.)*)"')
_MONTH_NAMES = "JanFebMarAprMayJunJulAugSepOctNovDec"
_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
)  # fmt: skip
_SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

Fields = dict[str, object]


def parse_line(line: str, now: datetime) -> Fields:
    """Return the fields of *line*: always ``message``; ``time``, ``host``, ``program``, ``pid``,
    ``facility``, ``severity``, ``msgid``, structured data as ``sd.<id>.<name>`` and the fields of
    a CEF or LEEF message, an audit record or an access log where present.

    Never fails: a line of no known form is all message. *now* gives RFC 3164 times their year.
    """
    fields: Fields = {}
    rest = line
    if (match := _PRIORITY.match(line)) and int(match[1]) <= 191:
        fields["facility"] = _FACILITIES[int(match[1]) >> 3]
        fields["severity"] = _SEVERITIES[int(match[1]) & 7]
        rest = line[match.end() :]
    if match := _RFC5424.fullmatch(rest):
        fields |= _from_rfc5424(match)
    elif match := _ISO.fullmatch(rest):
        fields |= _headed(match, _iso_time(match["time"]))
    elif match := _RFC3164.fullmatch(rest):
        fields |= _headed(match, _bsd_time(match["time"], now))
    else:
        fields["message"] = rest
    message = fields["message"]
    if not isinstance(message, str):
        return fields
    return {**_inner(message), **fields}


def _inner(message: str) -> Mapping[str, object]:
    """Return the fields of a message that has a form of its own."""
    if message.startswith(("CEF:", "LEEF:")):
        return find_cef_or_leef(message)
    if message.startswith(("type=", "node=")):
        return parse_audit(message) or {}
    # Every access log has its time in brackets and its request in quotes.
    if '] "' in message and (found := parse_access(message)) is not None:
        moment = str(found.pop("access_time", ""))
        if time := _access_time(moment):
            found["time"] = time
        return found
    return {}


def _access_time(text: str) -> str | None:
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return None


def _from_rfc5424(match: re.Match[str]) -> Fields:
    names = {"host": "host", "program": "app", "pid": "pid", "msgid": "msgid"}
    fields: Fields = {n: match[g] for n, g in names.items() if match[g] != "-"}
    if time := _iso_time(match["time"]):
        fields["time"] = time
    rest = match["rest"]
    if rest.startswith("-"):
        rest = rest[1:]
    position = 0
    while element := _ELEMENT.match(rest, position):
        for name, value in _PARAM.findall(element["params"]):
            fields[f"sd.{element['id']}.{name}"] = re.sub(r'\\(["\\\]])', r"\1", value)
        position = element.end()
    fields["message"] = rest[position:].removeprefix(" ").removeprefix("\ufeff")
    return fields


def _headed(match: re.Match[str], time: str | None) -> Fields:
    fields: Fields = {"host": match["host"]}
    if time:
        fields["time"] = time
    tail = match["tail"]
    if not tail.startswith(("CEF:", "LEEF:")) and (tag := _TAG.fullmatch(tail)):
        fields["program"] = tag["app"]
        if tag["pid"]:
            fields["pid"] = tag["pid"]
        fields["message"] = tag["message"]
    else:
        fields["message"] = tail
    return fields


def _iso_time(text: str) -> str | None:
    try:
        time = datetime.fromisoformat(text.replace(",", "."))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):  # the year 1 has no earlier hour
        return None


def _bsd_time(text: str, now: datetime) -> str | None:
    """RFC 3164 has no year and no zone: UTC, and the latest year that is not in the future."""
    if (place := _MONTH_NAMES.find(text[:3])) % 3:
        return None
    month = place // 3 + 1
    hour, minute, second = map(int, text[7:].split(":"))
    for year in (now.year, now.year - 1, now.year - 2, now.year - 3, now.year - 4):
        try:
            time = datetime(year, month, int(text[4:6]), hour, minute, second, tzinfo=UTC)
        except ValueError:
            continue  # 29 February exists only in some years
        if time <= now + timedelta(days=1):
            return time.isoformat()
    return None
