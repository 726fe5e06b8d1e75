"""Documents of any size on their way in: kept on disk while they come, then read row by row."""

import asyncio
import io
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Literal

from services.notify.inventory import Kind
from services.notify.inventory_file import InventoryError, read_document
from services.notify.inventory_formats import FORMATS, Format, read_rows
from services.notify.inventory_import import Draft
from shared.yaml_lines import MAX_BYTES

__all__ = ["MAX_DOCUMENT", "MEDIA_TYPES", "DocumentTooLargeError", "read_draft", "spooled"]

MAX_DOCUMENT = 512 << 20
"""Bytes: a million placements are about 80 MiB."""
_IN_MEMORY = 4 << 20

MEDIA_TYPES: dict[str, Format | Literal["yaml"]] = {**FORMATS, "application/yaml": "yaml"}


class DocumentTooLargeError(Exception):
    """More than `MAX_DOCUMENT` came."""


@asynccontextmanager
async def spooled(chunks: AsyncIterable[bytes]) -> AsyncIterator[IO[bytes]]:
    """Yield a file that holds all *chunks*; DocumentTooLargeError beyond the bound."""
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > MAX_DOCUMENT:
                raise DocumentTooLargeError(f"A document is at most {MAX_DOCUMENT >> 20} MiB.")
            await asyncio.to_thread(file.write, chunk)
        file.seek(0)
        yield file


def read_draft(file: IO[bytes], form: Format | Literal["yaml"], kind: Kind | None) -> Draft:
    """Return the rows of a document, those rejected with their lines.

    TooManyRejectedError when so many are that there is no point in going on.
    """
    draft = Draft(only=kind)
    if form != "yaml":
        # Line ends stay: CSV has them in cells, and NDJSON has no other than the line feed.
        newline = "\n" if form == "ndjson" else ""
        stream = io.TextIOWrapper(file, "utf-8-sig", newline=newline)
        try:
            draft.read(read_rows(stream, form, kind))
        finally:
            stream.detach()  # the file is the caller's to close
        if not draft.kinds and not draft.rejected:
            # Cut off, most likely; only a list of JSON can say that there are none.
            draft.reject(0, "the document holds no rows")
        return draft
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        draft.reject(1, f"YAML is at most {MAX_BYTES >> 20} MiB; JSON may be larger")
        return draft
    try:
        return read_document(content.decode("utf-8-sig"), draft)
    except UnicodeDecodeError:
        draft.reject(1, "the document is not UTF-8")
    except InventoryError as error:
        draft.reject(error.line, error.why)
    return draft
