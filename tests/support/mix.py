"""A stream of Windows events like that of a busy estate, from the attack sets, by a seed.

18 % process creations, 22 % registry, 14 % image loads, the rest as in the sets; identifiers and
times are fresh in every event, and every second event has fresh words in its command lines, paths
and keys, so that no cache knows them.
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tests.support.windows_json import documents, flatten

_SHARES = {"process": 0.18, "registry": 0.22, "image": 0.14, "other": 0.46}
_KINDS = {1: "process", 4688: "process", 12: "registry", 13: "registry", 14: "registry", 7: "image"}
_FRESH = ("CommandLine", "ParentCommandLine", "TargetFilename", "TargetObject", "ScriptBlockText",
          "Payload", "Details", "ObjectName", "QueryName", "ImageLoaded", "HostApplication")  # fmt: skip
_IDS = re.compile(r"Guid|^ProcessId|^ParentProcessId|LogonId|ThreadID|HandleId|RecordNumber|Port$")
_RUN = re.compile(r"[0-9a-fA-F]{4,}|[0-9]{2,}")
_WORDS = [
    "report",
    "invoice",
    "backup",
    "update",
    "cache",
    "index",
    "setup",
    "client",
    "agent",
    "monitor",
    "build",
    "test",
    "data",
    "session",
    "profile",
    "export",
    "import",
    "archive",
    "config",
    "service",
    "driver",
    "package",
    "log",
    "worker",
    "render",
    "print",
    "sync",
]
# What machines run all day; {} is a fresh word or number.
_DAILY = (
    ("C:\\Windows\\System32\\svchost.exe", "C:\\Windows\\system32\\svchost.exe -k netsvcs -p -s {}"),
    ("C:\\Windows\\System32\\conhost.exe", "\\??\\C:\\Windows\\system32\\conhost.exe 0x{} -ForceV1"),
    ("C:\\Windows\\System32\\cmd.exe", 'C:\\Windows\\system32\\cmd.exe /c "C:\\build\\{}\\{}.cmd" --job {}'),
    ("C:\\Windows\\System32\\taskhostw.exe", "taskhostw.exe {}"),
    ("C:\\Windows\\System32\\wbem\\WmiPrvSE.exe", "C:\\Windows\\system32\\wbem\\wmiprvse.exe -Embedding"),
    ("C:\\Windows\\System32\\backgroundTaskHost.exe", '"C:\\Windows\\system32\\backgroundTaskHost.exe" -ServerName:App.{}.mca'),
    ("C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe", '"C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe" --type=renderer --lang=en-US --device-scale-factor=1 --renderer-client-id={} --field-trial-handle={},i,{} /prefetch:1'),
    ("C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE", '"C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE" /n "C:\\Users\\{}\\Documents\\{} {}.docx" /o ""'),
    ("C:\\Program Files\\Microsoft Visual Studio\\2022\\MSBuild\\Current\\Bin\\MSBuild.exe", "MSBuild.exe D:\\src\\{}\\{}.sln /m /p:Configuration=Release /v:{}"),
    ("C:\\Program Files\\Git\\cmd\\git.exe", "git.exe fetch --quiet origin {}/{}"),
    ("C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe", "powershell.exe -File C:\\ops\\{}\\{}.ps1 -Site {}"),
    ("C:\\Program Files\\nodejs\\node.exe", "node.exe D:\\src\\{}\\node_modules\\.bin\\{} --watch {}"),
    ("C:\\Windows\\System32\\msiexec.exe", "C:\\Windows\\system32\\msiexec.exe /V"),
    ("C:\\Program Files\\Java\\jdk-17\\bin\\java.exe", "java.exe -Xmx{}m -jar C:\\apps\\{}\\{}.jar"),
    ("C:\\Windows\\System32\\SearchProtocolHost.exe", 'SearchProtocolHost.exe Global\\UsGthrFltPipeMssGthrPipe{}_ Global\\UsGthrCtrlFltPipeMssGthrPipe{} 1'),
    ("C:\\Windows\\System32\\robocopy.exe", "robocopy D:\\{} \\\\files01\\{}$ /MIR /R:{} /LOG:C:\\logs\\{}.log"),
)  # fmt: skip

_SHELL = ("C:\\Windows\\explorer.exe", "C:\\Windows\\Explorer.EXE")
_SERVICES = ("C:\\Windows\\System32\\services.exe", "C:\\Windows\\system32\\services.exe")
_HOST = (
    "C:\\Windows\\System32\\svchost.exe",
    "C:\\Windows\\system32\\svchost.exe -k DcomLaunch -p",
)
_AGENT = (
    "C:\\Program Files\\Agent\\runner.exe",
    '"C:\\Program Files\\Agent\\runner.exe" --pool {}',
)
_PARENTS = {
    "C:\\Windows\\System32\\svchost.exe": _SERVICES,
    "C:\\Windows\\System32\\msiexec.exe": _SERVICES,
    "C:\\Windows\\System32\\SearchProtocolHost.exe": ("C:\\Windows\\System32\\SearchIndexer.exe", "SearchIndexer.exe /Embedding"),
    "C:\\Windows\\System32\\taskhostw.exe": _HOST,
    "C:\\Windows\\System32\\wbem\\WmiPrvSE.exe": _HOST,
    "C:\\Windows\\System32\\backgroundTaskHost.exe": _HOST,
    "C:\\Windows\\System32\\conhost.exe": _AGENT,
    "C:\\Windows\\System32\\cmd.exe": _AGENT,
    "C:\\Windows\\System32\\robocopy.exe": _AGENT,
    "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe": _AGENT,
}  # fmt: skip


def mix(corpus: Path, seed: int, count: int) -> Iterator[bytes]:
    """Yield *count* JSON lines, the same for the same *seed*."""
    rng = random.Random(seed)
    pools = _pools(corpus)
    kinds, weights = list(_SHARES), list(_SHARES.values())
    for _ in range(count):
        kind = rng.choices(kinds, weights)[0]
        event = dict(rng.choice(pools[kind]))
        fresh = rng.random() < 0.5
        if kind == "process" and rng.random() < 0.95:
            _daily(event, rng if fresh else random.Random(rng.randint(0, 99)))
        _renew(event, rng, fresh=fresh)
        yield orjson.dumps(event)


def _pools(corpus: Path) -> dict[str, list[dict[str, Any]]]:
    pools: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _SHARES}
    folder = corpus / "windows-attacks"
    for name in json.loads((folder / "expected-hits.json").read_bytes())["files"]:
        for line in (folder / name).read_bytes().split(b"\n"):
            if line.rstrip(b"\r"):
                event = json.loads(line)
                event.pop("Message", None)
                pools[_KINDS.get(event["EventID"], "other")].append(event)
    for path in sorted((corpus / "sigma" / "regression_data").rglob("*.json")):
        for document in documents(path.read_text("utf-8")):
            event = flatten(document)
            kind = _KINDS.get(event["EventID"], "other")
            if kind == "process":
                pools[kind].append(event)
    return pools


def _daily(event: dict[str, Any], rng: random.Random) -> None:
    image, command = rng.choice(_DAILY)
    parent, parent_command = _PARENTS.get(image, _SHELL)
    words = [_word(rng) for _ in range(4)]
    event["CommandLine"] = command.format(*words)
    name = "NewProcessName" if event.get("EventID") == 4688 else "Image"
    event[name] = image
    event["ParentProcessName" if name == "NewProcessName" else "ParentImage"] = parent
    if name == "Image":
        event["ParentCommandLine"] = parent_command.format(*words)
        event["OriginalFileName"] = image.rsplit("\\", 1)[1]
        event["Description"] = event["Product"] = image.rsplit("\\", 1)[1][:-4].title()
        event["Hashes"] = f"SHA256={rng.getrandbits(256):064X},IMPHASH={rng.getrandbits(128):032X}"
        event["CurrentDirectory"] = f"C:\\Users\\{rng.choice(_WORDS)}\\"


def _renew(event: dict[str, Any], rng: random.Random, *, fresh: bool) -> None:
    for name, value in event.items():
        if not isinstance(value, str):
            continue
        if _IDS.search(name):
            event[name] = _RUN.sub(lambda found: _digits(rng, len(found[0])), value)
        elif name in ("UtcTime", "TimeCreated", "@timestamp"):
            event[name] = (
                f"2026-11-{rng.randint(1, 30):02} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00.{rng.randint(0, 999):03}"
            )
        elif fresh and name in _FRESH and len(value) > 3:
            value = _RUN.sub(lambda found: _digits(rng, len(found[0])), value)
            event[name] = f"{value} {_word(rng)}" if " " in value else f"{value}{_word(rng)}"


def _digits(rng: random.Random, length: int) -> str:
    return f"{rng.getrandbits(4 * min(length, 32)):0{min(length, 32)}x}"


def _word(rng: random.Random) -> str:
    return f"{rng.choice(_WORDS)}{rng.randint(0, 9999)}"
