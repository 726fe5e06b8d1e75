"""A server that speaks S3, on a free port of the loopback, in a process of its own (moto)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from services.cases.evidence.bucket import Bucket, Place

__all__ = ["made", "place", "running_s3"]

_SERVER = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.core.models import DEFAULT_ACCOUNT_ID  # noqa: F401 - loads what the server needs
from werkzeug.serving import make_server
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


@contextmanager
def running_s3() -> Iterator[str]:
    """Yield the URL of a server that lasts as long as the block."""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def place(url: str, bucket: str) -> Place:
    """Return a place on the server of the tests, which believes any key."""
    return Place(bucket=bucket, prefix="evidence/", endpoint=url, key_id="k", secret="s")


async def made(url: str, name: str, *, locking: bool = True) -> Bucket:
    """Return a new bucket, with versions, and with object lock unless told otherwise."""
    bucket = Bucket(place(url, name))
    await bucket.call("create_bucket", ObjectLockEnabledForBucket=locking)
    if not locking:
        await bucket.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    return bucket
