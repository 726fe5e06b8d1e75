"""Which of the operator's files are read again when they change, and what they put in force.

Not the policies of severity and priority: those change by proposal and second approver (§2.1).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.escalate.directory import load_directory
from services.escalate.doors.register import DoorBook, load_doors
from services.escalate.files import Watched
from services.escalate.oncall.paging_file import load_paging
from services.escalate.policy_versions import PolicyBook
from services.escalate.routing_file import load_routing
from services.escalate.settings import Settings

__all__ = ["watched_files"]


def watched_files(settings: Settings, book: PolicyBook, doors: DoorBook) -> list[Watched]:
    """Return the files that *settings* name; the shipped ones do not change."""

    def part(name: str, load: Callable[[Path], Any]) -> Callable[[Path], Callable[[], None]]:
        def read(path: Path) -> Callable[[], None]:
            found = load(path)
            return lambda: book.rebase(**{name: found})

        return read

    def read_doors(path: Path) -> Callable[[], None]:
        found = load_doors(path, verified=settings.mail_authserv_id is not None)
        return lambda: doors.put(found)

    wanted = (
        ("directory", settings.directory_file, part("directory", load_directory)),
        ("routing", settings.routing_file, part("routing", load_routing)),
        ("paging", settings.paging_file, part("paging", load_paging)),
        ("doors", settings.doors_file, read_doors),
    )
    return [Watched(name, path, load) for name, path, load in wanted if path is not None]
