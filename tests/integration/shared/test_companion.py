"""A process beside the service answers, ends with its pipe, and leaves nothing behind."""

import json
import subprocess
import sys
from multiprocessing.connection import Connection

import psutil
import pytest
import structlog

from shared.companion import Companion

pytestmark = pytest.mark.integration


def doubling(pipe: Connection, offset: int) -> None:
    while True:
        pipe.send(pipe.recv() * 2 + offset)


def test_it_answers_and_is_gone_after_its_end() -> None:
    one = Companion(doubling, 1)
    one.send(20)
    assert one.receive(20) == 41
    assert one.exit_code is None
    one.end()
    assert not psutil.pid_exists(one.pid)


def test_one_that_is_killed_is_seen_at_the_end_of_the_pipe() -> None:
    one = Companion(doubling, 0)
    one.kill()
    with pytest.raises((EOFError, OSError)):
        one.receive(20)
    one.end()


def test_it_does_not_load_what_started_it() -> None:
    one = Companion(loaded)
    assert one.receive(20) == []
    one.end()


def loaded(pipe: Connection) -> None:
    pipe.send([name for name in ("fastapi", "sqlalchemy", "multiprocessing.resource_tracker")
               if name in sys.modules])  # fmt: skip


def complaining(pipe: Connection) -> None:
    password = "hunter2"
    try:
        raise RuntimeError(f"of {len(password)} letters")  # noqa: TRY301 - what is logged
    except RuntimeError:
        structlog.get_logger().exception("it went wrong")
    pipe.send("said")


def test_it_logs_like_the_service_and_shows_no_variables(capfd: pytest.CaptureFixture[str]) -> None:
    one = Companion(complaining)
    assert one.receive(20) == "said"
    one.end()
    told = json.loads(capfd.readouterr().out)
    assert (told["event"], told["level"]) == ("it went wrong", "error")
    assert "of 7 letters" in told["exception"]
    assert "hunter2" not in str(told)


def test_it_ends_when_whoever_started_it_is_killed() -> None:
    code = (
        "import time; from shared.companion import Companion;"
        "from services.ingest.store.process import _serve;"
        "one = Companion(_serve); print(one.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
