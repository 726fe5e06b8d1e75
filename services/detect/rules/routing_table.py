"""The routing table as it is written in routing.yml."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .fields import texts_of
from .model import LogSource, RefusedError
from .routing import Conditions, OtherNames, Product, Routing, Source
from .text import fold
from .yaml_tree import documents, plain

_SHIPPED = Path(__file__).with_name("routing.yml")
_PRODUCT_KEYS = {"product", "unmarked", "aliases", "services", "maps", "categories"}
_SOURCE_KEYS = {"service", "when", "map"}


@cache
def default_routing() -> Routing:
    """Return the routing table that Tocsin ships."""
    return read_routing(_SHIPPED.read_text(encoding="utf-8"))


def read_routing(text: str) -> Routing:
    """Return the table of *text*, or raise RefusedError."""
    (tree,) = documents(text)
    if isinstance(tree, RefusedError):
        raise tree
    table: Any = plain(tree)
    return Routing(tuple(_product(entry) for entry in table))


def _product(entry: Mapping[str, Any]) -> Product:
    _check_keys(entry, _PRODUCT_KEYS)
    name = entry.get("product")
    services = {
        service: tuple(map(_conditions, ways if isinstance(ways, list) else [ways]))
        for service, ways in entry.get("services", {}).items()
    }
    sources = [Source(LogSource(name))] if name else []
    for service, ways in services.items():
        other_names = _other_names(entry.get("maps", {}).get(service, {}))
        logsource = LogSource(name, None, service)
        sources.extend(Source(logsource, way, (), other_names) for way in ways)
    for category, parts in entry.get("categories", {}).items():
        for part in parts:
            sources.extend(_category(name, category, part, services))
    return Product(
        name=name,
        unmarked=tuple(entry.get("unmarked", ())),
        aliases=_other_names(entry.get("aliases", {})),
        sources=tuple(sources),
    )


def _category(
    product: str | None,
    category: str,
    part: Mapping[str, Any],
    services: Mapping[str, tuple[Conditions, ...]],
) -> Iterator[Source]:
    _check_keys(part, _SOURCE_KEYS)
    service = part.get("service", "")
    for by_service in services.get(service, ((),)):
        yield Source(
            logsource=LogSource(product, category, service),
            by_service=by_service,
            when=_conditions(part.get("when", {})),
            aliases=_other_names(part.get("map", {})),
        )


def _conditions(table: Mapping[str, Any]) -> Conditions:
    return tuple(
        (field, frozenset(fold(text) for value in values for text in texts_of(value)))
        for field, values in table.items()
    )


def _other_names(table: Mapping[str, Any]) -> OtherNames:
    return tuple((field, tuple(others)) for field, others in table.items())


def _check_keys(entry: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(entry) - known:
        raise RefusedError(1, f"routing table: unknown key {min(unknown)!r}")
