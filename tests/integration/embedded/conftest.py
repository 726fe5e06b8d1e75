"""Directories for the embedded platform: one anybody may pass through, one only its owner may."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that the server's user can pass through (pytest's own are 0700)."""
    path = Path(tempfile.mkdtemp(prefix="tocsin-test-", dir="/tmp")).resolve()
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def closed_dir(open_dir: Path) -> Path:
    """A directory like root's home: nobody but its owner may enter."""
    path = open_dir / "home"
    path.mkdir()
    path.chmod(0o700)
    return path


@pytest.fixture
def parents_unchanged(open_dir: Path, closed_dir: Path) -> Iterator[None]:
    """No directory above our own data may be changed in mode or owner."""

    def modes() -> dict[Path, tuple[int, int, int]]:
        above = [closed_dir, open_dir, *open_dir.parents]
        return {
            p: (stat.S_IMODE(p.stat().st_mode), p.stat().st_uid, p.stat().st_gid) for p in above
        }

    before = modes()
    yield
    assert modes() == before


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`needs_root` tests run only as root."""
    for item in items:
        if "as_root" in item.name:
            item.add_marker(needs_root)
