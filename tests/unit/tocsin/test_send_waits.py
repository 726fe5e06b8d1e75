"""`tocsin send` says what it waits for."""

import io
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tocsin import send
from tocsin.send import Target, send_file
from tocsin.send_display import Waits

pytestmark = pytest.mark.unit


async def test_each_repetition_tells_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "jitter", lambda _: 0.0)
    answers = [503, 503, 202]

    async def events(_: Request) -> JSONResponse:
        if (status := answers.pop(0)) == 202:
            return JSONResponse({"accepted": 1, "duplicates": 0, "quarantined": 0}, 202)
        return JSONResponse({"detail": "EVENTS did not confirm: timeout"}, status)

    file, heard = tmp_path / "a.log", list[str]()
    file.write_text("one line\n")
    app = Starlette(routes=[Route("/v1/events", events, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        sent = await send_file(client, Target("http://here", "k"), file, on_wait=heard.append)
    assert sent.accepted == 1
    assert heard == ["ingest answered 503: EVENTS did not confirm: timeout"] * 2


def test_it_is_told_once_and_without_a_terminal() -> None:
    out = io.StringIO()
    waits = Waits(Console(file=out, force_terminal=False, width=200))
    for problem in ("no answer", "no answer", "the disk is full"):
        waits.tell(problem)
    assert out.getvalue().splitlines() == [
        "waiting: no answer; will repeat",
        "waiting: the disk is full; will repeat",
    ]
