"""An event as rules read it: names resolved to values, values to text, each only once."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .model import ANYWHERE
from .text import fold, one_dash

Aliases = Mapping[str, Sequence[str]]
# The way to a value, from its end: linked, so that a deep event costs no long strings.
Path = tuple[()] | tuple[Any, str]

# Half a surrogate pair: no rule can hold it, and no event that came as JSON in UTF-8.
SEAM = "\udfff"

_MAX_INT_BITS = 4096  # beyond, Python refuses to write a number out
_MAX_ADDRESS = 64


class Form(NamedTuple):
    """A field's texts in another form than folded."""

    field: str
    cased: bool
    dashes: bool


# A field's name alone asks for its folded texts, by far the most common form.
Key = str | Form


def text_key(field: str, *, cased: bool, dashes: bool) -> Key:
    """Return what to ask a view's texts for."""
    return Form(field, cased, dashes) if cased or dashes else field


class View:
    """One event under one set of aliases. Tables fill as fields are asked for."""

    __slots__ = ("_addresses", "_joined", "fields", "texts", "values")

    def __init__(self, fields: Mapping[str, Any], aliases: Aliases) -> None:
        self.fields = fields
        self.values = _Values(fields, aliases)
        self.texts = _Texts(self.values)
        self._joined: _Joined | None = None
        self._addresses: _Addresses | None = None

    @property
    def joined(self) -> "_Joined":
        """Return the texts of a field in one row: asked for where they are many."""
        if self._joined is None:
            self._joined = _Joined(self.texts)
        return self._joined

    @property
    def addresses(self) -> "_Addresses":
        """Return the addresses among the texts of a field."""
        if self._addresses is None:
            self._addresses = _Addresses(self.texts)
        return self._addresses


class _Values(dict[str, tuple[Any, ...] | None]):
    """Field -> its values: members of arrays one by one, objects whole; None where absent."""

    __slots__ = ("_aliases", "_fields")

    def __init__(self, fields: Mapping[str, Any], aliases: Aliases) -> None:
        self._fields = fields
        self._aliases = aliases

    def __missing__(self, name: str) -> tuple[Any, ...] | None:
        if name == ANYWHERE:
            found: tuple[Any, ...] | None = tuple(value for _, value in everything(self._fields))
        else:
            found = self._read(name)
        self[name] = found
        return found

    def _read(self, name: str) -> tuple[Any, ...] | None:
        found = read(self._fields, name)
        if found is None:
            for alias in self._aliases.get(name, ()):
                if (found := read(self._fields, alias)) is not None:
                    break
        return found

    def read_as(self, name: str) -> str:
        """Return the name under which *name* is really found in the event."""
        for candidate in (name, *self._aliases.get(name, ())):
            if read(self._fields, candidate) is not None:
                return candidate
        return name


class _Texts(dict[Key, tuple[str, ...]]):
    """Field -> the texts of its values in some form; null and objects have none."""

    __slots__ = ("_values",)

    def __init__(self, values: _Values) -> None:
        self._values = values

    def __missing__(self, key: Key) -> tuple[str, ...]:
        if isinstance(key, Form):
            found = self._written(key.field) if key.cased else self[key.field]
            if key.dashes:
                found = tuple(map(one_dash, found))
        else:
            found = tuple(map(fold, self._written(key)))
        self[key] = found
        return found

    def _written(self, field: str) -> tuple[str, ...]:
        values = self._values[field]
        return tuple(text for value in values for text in texts_of(value)) if values else ()


class _Joined(dict[Key, str]):
    """Field -> its texts in one row, with a seam before, between and behind them."""

    __slots__ = ("_texts",)

    def __init__(self, texts: _Texts) -> None:
        self._texts = texts

    def __missing__(self, key: Key) -> str:
        texts = (text.replace(SEAM, "\ufffd") for text in self._texts[key])
        found = self[key] = f"{SEAM}{SEAM.join(texts)}{SEAM}"
        return found


class _Addresses(dict[str, tuple[tuple[int, int], ...]]):
    """Field -> (IP version, number) of its texts that are addresses."""

    __slots__ = ("_texts",)

    def __init__(self, texts: _Texts) -> None:
        self._texts = texts

    def __missing__(self, name: str) -> tuple[tuple[int, int], ...]:
        texts = self._texts[name]
        found = self[name] = tuple(pair for text in texts for pair in _address(text))
        return found


def read(fields: Mapping[str, Any], name: str) -> tuple[Any, ...] | None:
    """Return the values of *name*: a literal key first, else a dotted path; None if absent."""
    if name in fields:
        value = fields[name]
        return tuple(_members(value)) if isinstance(value, list) else (value,)
    if "." not in name:
        return None
    head, _, rest = name.partition(".")
    if head not in fields:
        return None
    found: list[Any] = []
    absent = True
    for member in _members(fields[head]):
        inner = read(member, rest) if isinstance(member, dict) else None
        if inner is not None:
            absent = False
            found.extend(inner)
    return None if absent else tuple(found)


def _members(value: Any) -> Iterator[Any]:
    """Yield *value*, or the members of arrays at any depth; without recursion, events lie."""
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, list):
            stack.extend(reversed(top))
        else:
            yield top


def everything(fields: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield (path, value) for every value of the event that is no object or array."""
    stack: list[tuple[Path, Any]] = [((), fields)]
    while stack:
        path, top = stack.pop()
        if isinstance(top, dict):
            stack.extend(((path, key), top[key]) for key in reversed(top))
        elif isinstance(top, list):
            stack.extend((path, member) for member in reversed(top))
        else:
            yield path, top


def dotted(path: Path) -> str:
    """Return *path* as rules write it."""
    keys: list[str] = []
    while path:
        path, key = path
        keys.append(str(key))
    return ".".join(reversed(keys))


def texts_of(value: Any) -> tuple[str, ...]:
    """Return how *value* may be written. A whole float is both 1.0 and 1: JSON has one number."""
    match value:
        case str():
            return (value,)
        case bool():
            return ("true" if value else "false",)
        case int():
            return (str(value),) if value.bit_length() <= _MAX_INT_BITS else ()
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                return ()
            return (repr(value), str(int(value))) if value.is_integer() else (repr(value),)
        case _:
            return ()


def _address(text: str) -> tuple[tuple[int, int], ...]:
    if len(text) > _MAX_ADDRESS:
        return ()
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ()
    own = (address.version, int(address))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (own, (4, int(mapped))) if mapped else (own,)
