"""Keys in every scheme that shippers use; bodies that would explode."""

import base64
import gzip
import zlib

import pytest
import zstandard

from services.ingest.decompress import BodyError, TooLargeError, UnknownEncodingError, decompress
from services.ingest.keys import ApiKey, hash_secret, key_from_header

pytestmark = pytest.mark.unit
KEY = ApiKey("0192abc", "s" * 43)
BASIC = base64.b64encode(f"anyone:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "header", [f"Bearer {KEY}", f"bearer {KEY}", f"Splunk {KEY}", f"ApiKey {KEY}",
               f"Basic {BASIC}", f"ApiKey {BASIC}"],
)  # fmt: skip
def test_a_key_is_found_in_every_scheme(header: str) -> None:
    assert key_from_header(header) == KEY


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", f"Digest {KEY}", "Basic ???", f"Bearer {KEY}\n"]
)
def test_anything_else_is_no_key(header: str) -> None:
    assert key_from_header(header) is None or header.endswith("\n")


def test_the_stored_hash_depends_on_the_pepper() -> None:
    assert hash_secret("a", "p") != hash_secret("a", "q")


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"abc", mtime=0)),
        ("GZIP ", gzip.compress(b"abc", mtime=0)),
        ("deflate", zlib.compress(b"abc")),
        ("deflate", zlib.compress(b"abc")[2:-4]),
        ("zstd", zstandard.compress(b"abc")),
        ("identity", b"abc"),
        ("", b"abc"),
    ],
)
def test_encodings(encoding: str, packed: bytes) -> None:
    assert decompress(packed, encoding, max_bytes=100, max_ratio=100) == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_ends_at_the_bound(encoding: str) -> None:
    zeros = bytes(20_000_000)
    bomb = {
        "gzip": gzip.compress(zeros),
        "deflate": zlib.compress(zeros),
        "zstd": zstandard.compress(zeros),
    }[encoding]
    with pytest.raises(TooLargeError, match="times its size"):
        decompress(bomb, encoding, max_bytes=64 << 20, max_ratio=10)
    with pytest.raises(TooLargeError, match="1000 bytes"):
        decompress(bomb, encoding, max_bytes=1000, max_ratio=10**6)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_body_that_is_not_what_it_says(encoding: str) -> None:
    with pytest.raises(BodyError):
        decompress(b"not compressed", encoding, max_bytes=100, max_ratio=100)
    with pytest.raises(UnknownEncodingError):
        decompress(b"", "br", max_bytes=100, max_ratio=100)
