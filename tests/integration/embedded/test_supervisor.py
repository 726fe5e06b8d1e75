"""The supervisor over real child processes."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tocsin.embedded.child_log import ChildLog
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.pids import look
from tocsin.embedded.process import until
from tocsin.supervisor import Backoff, Child, Event, State, Supervisor

pytestmark = pytest.mark.integration

FAST = Backoff(first=0.05, limit=0.2, healthy=60)
RUN_ON = "import time; print('up', flush=True); time.sleep(600)"


def child(folder: Path, code: str, name: str = "svc", **options: object) -> Child:
    return Child(
        name=name,
        argv=(sys.executable, "-c", code),
        env={},
        log_path=folder / f"{name}.log",
        **options,  # type: ignore[arg-type]
    )


class Heard:
    """What the supervisor told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def states(self, name: str = "svc") -> list[State]:
        return [event.state for event in self.events if event.name == name]


async def test_a_dying_child_is_started_again_with_growing_waits(tmp_path: Path) -> None:
    heard = Heard()
    supervisor = Supervisor(
        [child(tmp_path, "print('no database'); raise SystemExit(3)")],
        jitter=lambda: 0.0,
        on_event=heard,
        backoff=FAST,
        run_dir=tmp_path,
    )
    async with supervisor:
        assert await until(lambda: State.FAILING in heard.states())
        with pytest.raises(PlatformError, match=r"svc keeps failing \(exit code 3\): no database"):
            await supervisor.wait_ready(10)
    waits = [event.wait for event in heard.events if event.wait]
    assert waits[:3] == [0.05, 0.1, 0.2]
    exited = next(event for event in heard.events if event.state is State.EXITED)
    assert (exited.code, exited.last_line) == (3, "no database")
    assert heard.states()[-1] is State.STOPPED
    assert not list(tmp_path.glob("*.json"))


async def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    heard = Heard()
    async with Supervisor(
        [child(tmp_path, RUN_ON)], jitter=lambda: 0.5, on_event=heard, backoff=FAST
    ) as supervisor:
        await supervisor.wait_ready(10)
        first = supervisor.states["svc"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert await until(lambda: heard.states().count(State.READY) == 2)
        second = supervisor.states["svc"].pid
        assert second != first
    exited = next(event for event in heard.events if event.state is State.EXITED)
    assert exited.code == -signal.SIGKILL
    assert look(second or 0) is None


async def test_readiness_is_asked_until_it_is_true(tmp_path: Path) -> None:
    asked = 0

    async def ready() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ConnectionRefusedError
        return asked >= 3

    async with Supervisor([child(tmp_path, RUN_ON, ready=ready)], jitter=lambda: 0.0) as supervisor:
        await supervisor.wait_ready(10)
    assert asked == 3


async def test_a_child_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    heard = Heard()
    async with Supervisor(
        [child(tmp_path, RUN_ON, ready=never, ready_limit=0.3)],
        jitter=lambda: 0.0,
        on_event=heard,
        backoff=FAST,
    ) as supervisor:
        with pytest.raises(PlatformError, match=r"^svc did not get ready within 0 s"):
            await supervisor.wait_ready(0.1)
        assert await until(lambda: State.EXITED in heard.states())
    exited = next(event for event in heard.events if event.state is State.EXITED)
    assert exited.last_line.startswith("not ready within 0 s")


async def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    missing = Child(name="svc", argv=("/no/such",), env={}, log_path=tmp_path / "svc.log")
    async with Supervisor([missing], jitter=lambda: 0.0, backoff=FAST) as supervisor:
        with pytest.raises(PlatformError, match="/no/such cannot be started: No such file"):
            await supervisor.wait_ready(10)


async def test_stop_asks_all_in_order_and_kills_who_refuses(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, "
        "flush=True)\n"
        "time.sleep(600)"
    )
    polite = (
        "import signal, sys, time\n"
        "def leave(*_):\n"
        "    print('leaving', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)"
    )
    children = [child(tmp_path, polite, "polite"), child(tmp_path, stubborn, "stubborn")]
    supervisor = Supervisor(children, jitter=lambda: 0.0)
    supervisor.start()
    logs = [each.log_path for each in children]
    assert await until(lambda: all(log.exists() and log.read_text() for log in logs))
    grandchild = int((tmp_path / "stubborn.log").read_text())
    began = asyncio.get_running_loop().time()
    await supervisor.stop(grace=0.5, order=["polite"])
    assert asyncio.get_running_loop().time() - began < 5
    assert (tmp_path / "polite.log").read_text() == "up\nleaving\n"
    assert await until(lambda: look(grandchild) is None)


async def test_stop_during_a_start_and_a_wait_leaves_no_child(tmp_path: Path) -> None:
    heard = Heard()
    supervisor = Supervisor(
        [child(tmp_path, "raise SystemExit(1)"), child(tmp_path, RUN_ON, "late")],
        jitter=lambda: 0.0,
        on_event=heard,
        backoff=Backoff(first=60, limit=60),
    )
    supervisor.start()
    assert await until(lambda: State.BACKING_OFF in heard.states())
    await supervisor.stop(grace=5)
    assert heard.states()[-1] is State.STOPPED
    assert heard.states("late")[-1] is State.STOPPED


async def test_output_is_appended_and_rotated(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "svc.log", limit=100)
    for number in range(30):
        log.write(f"line {number:02}\n".encode())
    log.close()
    later = ChildLog(tmp_path / "svc.log", limit=100)
    later.write(b"again\n")
    later.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["svc.log", "svc.log.1"]
    assert (tmp_path / "svc.log").read_text().endswith("line 29\nagain\n")
    assert (tmp_path / "svc.log.1").stat().st_size < 120
    assert log.last_line == "line 29"
