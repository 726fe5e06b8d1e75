"""The process that carries searches out: one at a time, interruptible, shut off by DuckDB.

It hears ``cancel`` while a statement runs, and ends a search at its deadline by itself. What makes
it fail (memory above all) ends with it and nothing else.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from services.ingest.search.execute import Get, execute
from services.ingest.search.plan import Answer, Search
from services.ingest.store.batch import Store
from services.ingest.store.duck import connect
from services.ingest.store.manifest import ListedFile
from services.ingest.store.place import CorruptFileError, open_place

if TYPE_CHECKING:  # tens of megabytes, for the search processes alone
    import duckdb

__all__ = ["CANCEL", "Failure", "Job", "serve"]

CANCEL = "cancel"
LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """A search and the seconds that it may take."""

    search: Search
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer; ``kind``: cancelled, too_long, too_large, damaged or failed."""

    kind: str
    detail: str


class _StoppedError(Exception):
    pass


def serve(connection: Connection, store: Store, threads: int) -> None:
    """Answer jobs from *connection* until it closes."""
    place = open_place(store.url, store.access, store.cache, store.cache_bytes)

    def get(file: ListedFile) -> Path:
        return place.get(file.path, file.sha256)

    with contextlib.suppress(EOFError, OSError):
        while True:
            job = connection.recv()
            if isinstance(job, Job):  # a cancel that came too late is none
                duck = connect(place.folder, store.memory_mib, threads)
                connection.send(_Run(connection, duck).answer(job, get))


class _Run:
    """One job, with the thread that listens for its end."""

    def __init__(self, connection: Connection, duck: duckdb.DuckDBPyConnection) -> None:
        self._connection, self._duck = connection, duck
        self._why: str | None = None
        self._done = threading.Event()

    def answer(self, job: Job, get: Get) -> Answer | Failure:
        import duckdb

        listener = threading.Thread(target=self._listen, args=(job.seconds,), daemon=True)
        listener.start()
        try:
            return execute(self._duck, job.search, get, self._go_on)
        except (_StoppedError, duckdb.InterruptException):
            why = self._why or CANCEL
            told = f"not ready after {job.seconds:g} s" if why == "too_long" else "cancelled"
            return Failure("cancelled" if why == CANCEL else why, told)
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            return Failure("too_large", str(error).splitlines()[0])
        except (CorruptFileError, OSError, duckdb.IOException) as error:
            return Failure("damaged", str(error).splitlines()[0])
        except duckdb.Error as error:
            # DuckDB has no type of its own for bytes that are no Parquet.
            broken = type(error) in (duckdb.Error, duckdb.InvalidInputException)
            kind = "damaged" if broken else "failed"
            return Failure(kind, f"{type(error).__name__}: {error}".splitlines()[0])
        except Exception as error:  # noqa: BLE001 - the parent is told, whatever it is
            return Failure("failed", f"{type(error).__name__}: {error}")
        finally:
            self._done.set()
            listener.join()
            self._duck.close()

    def _go_on(self) -> None:
        if self._why is not None:
            raise _StoppedError

    def _listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._done.wait(LOOK):
            if self._connection.poll(0):
                try:
                    self._why = str(self._connection.recv())
                except (EOFError, OSError):  # the service is gone
                    self._why = CANCEL
            elif time.monotonic() > deadline:
                self._why = "too_long"
            if self._why is not None:
                self._duck.interrupt()
