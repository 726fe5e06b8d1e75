"""An engine's state as chunks of MessagePack, and back: what a restart goes on from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from services.detect.correlation.closing import Window
from services.detect.correlation.engine import Engine
from services.detect.correlation.firing import Counted
from services.detect.correlation.windows import Chain, Fired, Records, Update, Values

__all__ = ["FORMAT", "dump", "load"]

FORMAT = 1
_CHUNK = 20_000
_FIRED = ("until", "start", "events", "seen", "detection")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def dump(engine: Engine) -> Iterator[bytes]:
    """Yield *engine*'s state, a few megabytes at a time."""
    yield _encode(
        {
            "format": FORMAT,
            "watermark": engine.watermark,
            "newest": engine.newest,
            "newest_at": engine.newest_at,
            "made": engine.made,
        }
    )
    for step, processor, waiting in zip(
        engine.plan.steps, engine.processors, engine.waiting, strict=True
    ):
        about = {"rule": step.rule.id, "version": step.rule.version}
        write = _WRITE[processor.kind]
        groups = iter(processor.groups.items())
        while chunk := [(key, *write(group)) for key, group in islice(groups, _CHUNK)]:
            yield _encode({**about, "groups": chunk})
        updates = iter(waiting)
        while part := list(islice(updates, _CHUNK)):
            yield _encode({**about, "waiting": part})


def load(engine: Engine, chunks: Iterable[bytes]) -> None:
    """Put the state in *chunks* into the new *engine*; of rules that changed nothing is kept.

    ValueError where the chunks are of another format.
    """
    steps = {(step.rule.id, step.rule.version): step.index for step in engine.plan.steps}
    groups: dict[int, dict[str, Any]] = {}
    for number, chunk in enumerate(chunks):
        found: Mapping[str, Any] = _decode(chunk)
        if number == 0:
            if found.get("format") != FORMAT:
                raise ValueError(f"snapshot of format {found.get('format')}, {FORMAT} expected")
            engine.watermark, engine.newest = found["watermark"], found["newest"]
            engine.newest_at, engine.made = found["newest_at"], found["made"]
            continue
        index = steps.get((found["rule"], found["version"]))
        if index is None:
            continue
        read = _READ[engine.processors[index].kind]
        restored = groups.setdefault(index, {})
        for key, *state in found.get("groups", ()):
            restored[key] = read(state)
        for update in found.get("waiting", ()):
            engine.waiting[index].add(Update._make((*update[:8], tuple(update[8]), update[9])))
    for index, restored in groups.items():
        engine.processors[index].restore(restored)


def _write_fired(group: Fired) -> tuple[Any, ...]:
    return tuple(getattr(group, name) for name in _FIRED)


def _read_fired(group: Fired, state: Iterable[Any]) -> None:
    for name, value in zip(_FIRED, state, strict=True):
        setattr(group, name, value)


def _write_records(group: Records) -> tuple[Any, ...]:
    return (
        _write_fired(group), bytes(group.buffer[group.head :]), group.last, group.last_id,
        group.total, group.told,
    )  # fmt: skip


def _read_records(state: list[Any]) -> Records:
    group = Records()
    fired, buffer, group.last, group.last_id, group.total, group.told = state
    _read_fired(group, fired)
    group.buffer = bytearray(buffer)
    return group


def _write_values(group: Values) -> tuple[Any, ...]:
    return _write_fired(group), group.latest, group.first, group.last, group.told


def _read_values(state: list[Any]) -> Values:
    group = Values()
    fired, latest, group.first, group.last, group.told = state
    _read_fired(group, fired)
    group.latest = {value: tuple(seen) for value, seen in latest.items()}
    return group


def _write_chain(group: Chain) -> tuple[Any, ...]:
    return _write_fired(group), list(group.latest.items()), group.last, group.told


def _read_chain(state: list[Any]) -> Chain:
    group = Chain()
    fired, latest, group.last, group.told = state
    _read_fired(group, fired)
    group.latest = {position: tuple(map(_counted, path)) for position, path in latest}
    return group


def _write_window(group: Window) -> tuple[Any, ...]:
    return group.start, group.last, group.over, list(group.counted.values()), group.values


def _read_window(state: list[Any]) -> Window:
    group = Window()
    group.start, group.last, group.over, counted, group.values = state
    found = map(_counted, counted)
    group.counted = {(event.event_id, event.position): event for event in found}
    return group


def _counted(state: list[Any]) -> Counted:
    return Counted._make((*state[:4], tuple(state[4])))


_WRITE: Mapping[type[Any], Callable[[Any], tuple[Any, ...]]] = {
    Records: _write_records, Values: _write_values, Chain: _write_chain, Window: _write_window,
}  # fmt: skip
_READ: Mapping[type[Any], Callable[[list[Any]], Any]] = {
    Records: _read_records, Values: _read_values, Chain: _read_chain, Window: _read_window,
}  # fmt: skip
