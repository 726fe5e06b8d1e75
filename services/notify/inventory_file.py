"""Inventory from YAML or JSON text: all of it, or an InventoryError with line and reason."""

import io
from collections.abc import Iterable
from typing import BinaryIO

from services.notify.inventory import EMPTY, KINDS, Inventory
from services.notify.inventory_formats import read_rows
from services.notify.inventory_import import Draft, Rejected, TooManyRejectedError, apply
from shared.yaml_lines import MAX_BYTES, LineError, fields, read

__all__ = ["InventoryError", "parse", "read_document", "read_file", "refuse"]

NEEDED = ("regions", "services", "tenants", "placements")
"""What no file may lack; the other kinds stand inside of these, or beside them."""


class InventoryError(LineError):
    """The file contradicts itself, or names what it does not define; nothing of it was loaded."""


def parse(text: str, *, stored: bool = False) -> Inventory:
    """Return the inventory in *text*; InventoryError with the line of the first contradiction.

    What was *stored* in one piece, before there were rows, has lost its secrets.
    """
    draft = read_document(text, Draft(secrets="left_out" if stored else "inside"))
    refuse(draft.rejected)
    change = apply(EMPTY, _complete(draft), replace=True)
    refuse(change.rejected)
    return change.inventory


def read_file(file: BinaryIO, size: int) -> Draft:
    """Return all rows of *file*; InventoryError with the line of the first mistake.

    JSON may be larger than `MAX_BYTES`: it is read row by row, and a row has the line it begins in.
    """
    stream = io.TextIOWrapper(file, "utf-8", newline="")
    draft = Draft(secrets="inside")
    try:
        if size <= MAX_BYTES:
            read_document(stream.read(), draft)
        elif not stream.read(256).lstrip().startswith("{"):
            raise InventoryError(1, f"YAML is at most {MAX_BYTES >> 20} MiB; JSON may be larger")
        else:
            stream.seek(0)
            draft.read(read_rows(stream, "json", None))
    except UnicodeDecodeError:
        raise InventoryError(1, "the file is not UTF-8") from None
    except TooManyRejectedError:
        pass  # the first of them is told
    finally:
        stream.detach()  # the file is the caller's to close
    refuse(draft.rejected)
    return _complete(draft)


def read_document(text: str, draft: Draft) -> Draft:
    """Return *draft* with the rows of a YAML or JSON document, each field with its line.

    InventoryError where that is none; a bad row is rejected.
    """
    try:
        top = fields(read(text), "inventory", KINDS)
        nodes = [(kind, node) for kind in KINDS for node in top.items(kind)]
    except LineError as error:
        raise InventoryError(error.line, error.why) from None
    draft.kinds |= {kind for kind in KINDS if top.has(kind)}
    for kind, node in nodes:
        try:
            draft.take_node(kind, node)
        except LineError as error:
            draft.reject(error.line, error.why)
    return draft


def _complete(draft: Draft) -> Draft:
    """Return *draft* as all there is of every kind; InventoryError when it lacks one."""
    for key in NEEDED:
        if key not in draft.kinds:
            raise InventoryError(1, f"inventory has no {key}")
    draft.kinds |= set(KINDS)
    return draft


def refuse(rejected: Iterable[Rejected]) -> None:
    """Raise the first of *rejected* as InventoryError, if there is one."""
    for one in rejected:
        raise InventoryError(one.line, one.why)
