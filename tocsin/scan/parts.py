"""Files and folders into parts that processes can share out among themselves."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

from tocsin.reading import ReadingError, chunks, open_log
from tocsin.scan.work import Work

__all__ = ["files_of", "parts"]

_EVTX = b"ElfFile\0"
MAX_LINE = 16 << 20


def files_of(places: Sequence[Path]) -> list[Path]:
    """Return *places*, with folders as the files in them; ReadingError for what is not there."""
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            for folder, subfolders, names in os.walk(place):
                subfolders[:] = sorted(n for n in subfolders if not n.startswith("."))
                found.extend(Path(folder, n) for n in sorted(names) if not n.startswith("."))
        elif str(place) == "-" or place.is_file():
            found.append(place)
        else:
            raise ReadingError(f"{place}: there is no such file or directory")
    return found


def parts(path: Path) -> Iterator[Work]:
    """Yield the parts of *path*; ReadingError when it cannot be read, wherever that shows."""
    name = str(path)
    with open_log(path) as log:
        try:
            magic = log.stream.peek(8)[:8]
        except (OSError, EOFError, zstandard.ZstdError) as error:
            raise ReadingError(f"{name}: {error}") from error
        if magic == _EVTX:
            yield Work(name, "evtx", 0, b"", log.size or 0)
            return
        for chunk in chunks(log, MAX_LINE):
            form = "text" if chunk.is_text else "documents" if chunk.is_array else "lines"
            yield Work(name, form, chunk.start, chunk.body, log.position)
