"""The five services as processes over a directory of their own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the server's user can reach, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tocsin-system-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
