"""The peer of test_log.py: PyPI `eventsourcing` with its PostgreSQL recorder, as a process.

    python eventsourcing_writer.py <dsn> <schema> <writers> <seconds> <db functions: 0|1>

prints events/s. It imports nothing of ours, and runs in an environment that has `eventsourcing`.
"""

import json
import sys
import threading
import time
from urllib.parse import unquote, urlsplit
from uuid import uuid4


def main() -> None:
    from eventsourcing.persistence import StoredEvent  # type: ignore[import-not-found]
    from eventsourcing.postgres import (  # type: ignore[import-not-found]
        PostgresApplicationRecorder,
        PostgresDatastore,
    )

    dsn, schema, writers, seconds, functions = sys.argv[1:]
    place = urlsplit(dsn)
    datastore = PostgresDatastore(
        place.path[1:],
        place.hostname or "",
        place.port or 5432,
        place.username or "",
        unquote(place.password or ""),
        pool_size=int(writers),
        schema=schema,
        enable_db_functions=functions == "1",
    )
    recorder = PostgresApplicationRecorder(datastore)
    recorder.create_table()
    state = json.dumps({"text": "x" * 200}).encode()
    stop = time.monotonic() + float(seconds)
    counts = []

    def write() -> None:
        originator, version = uuid4(), 0
        while time.monotonic() < stop:
            version += 1
            recorder.insert_events([StoredEvent(originator, version, "NoteAdded", state)])
        counts.append(version)

    threads = [threading.Thread(target=write) for _ in range(int(writers))]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(counts) / (time.monotonic() - begun))
    datastore.close()


if __name__ == "__main__":
    main()
