"""Lines of web servers in the common and combined log format (Apache, nginx), W3C field names."""

import re

__all__ = ["parse_access"]

_LINE = re.compile(
    r"(?:(?P<vhost>[A-Za-z0-9._-]+(?::\d+)?) )?(?P<client>[0-9A-Fa-f.:]{2,45}|[A-Za-z0-9.-]+)"
    r" \S+ (?P<user>\S+) \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]"
    r' "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<size>\d+|-)'
    r'(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?(?: .*)?',
    re.S,
)
_REQUEST = re.compile(r"(?P<method>[A-Za-z-]{1,32}) (?P<target>.*?)(?: HTTP/(?P<version>[\d.]+))?")


def parse_access(line: str) -> dict[str, object] | None:
    """Return ``c-ip``, ``cs-username``, ``cs-method``, ``cs-uri-stem`` (the path), ``cs-uri-query``
    and ``c-uri`` (path and query: what rules look for traversals in), ``cs-version``,
    ``sc-status``, ``sc-bytes``, ``cs-referer``, ``cs-user-agent`` and ``cs-host``, where the line
    has them; None where it is none.
    """
    found = _LINE.fullmatch(line)
    request = _REQUEST.fullmatch(found["request"]) if found else None
    if found is None or request is None:
        return None
    target = request["target"]
    fields: dict[str, object] = {
        "c-ip": found["client"],
        "cs-method": request["method"],
        "cs-uri-stem": target.partition("?")[0],
        "cs-uri-query": target,
        "c-uri": target,
        "sc-status": int(found["status"]),
    }
    others = {
        "cs-username": found["user"],
        "cs-version": request["version"],
        "sc-bytes": found["size"],
        "cs-referer": found["referer"],
        "cs-user-agent": found["agent"],
        "cs-host": found["vhost"],
        "access_time": found["time"],
    }
    return fields | {name: value for name, value in others.items() if value and value != "-"}
