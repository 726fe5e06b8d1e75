"""A mail server to be killed: each mail is in its journal before it is answered for.

python -m tests.support.smtp_process PORT JOURNAL
"""

import asyncio
import hashlib
import json
import os
import sys
from email import message_from_bytes
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP


class Journal:
    """One line a mail: Message-ID, recipients, digest of the bytes. A kill -9 leaves it whole."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        line = {
            "id": message_from_bytes(envelope.content)["Message-ID"],
            "to": envelope.rcpt_tos,
            "sha256": hashlib.sha256(envelope.content).hexdigest(),
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")
        return "250 2.0.0 kept"


async def serve(port: int, journal: Journal) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(journal, hostname="sink.test", loop=loop), "127.0.0.1", port
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Journal(Path(sys.argv[2]))))
