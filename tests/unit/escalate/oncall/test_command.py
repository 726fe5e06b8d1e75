"""`tocsin oncall check` reads files as escalate would."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.escalate.file_spots import FileError
from services.escalate.oncall.paging_file import SHIPPED_PAGING
from services.escalate.routing_file import SHIPPED_ROUTING
from tests.unit.escalate.oncall.given import STAFFED
from tocsin.cli import app

pytestmark = pytest.mark.unit


def test_good_files_are_good_and_a_bad_one_is_refused_with_its_line(tmp_path: Path) -> None:
    directory = tmp_path / "directory.yml"
    directory.write_text(STAFFED)
    arguments = ["oncall", "check", str(directory)]
    more = ["--routing", str(SHIPPED_ROUTING), "--paging", str(SHIPPED_PAGING)]
    good = CliRunner().invoke(app, [*arguments, *more])
    assert good.exit_code == 0
    assert good.stdout.count(": good") == 3
    directory.write_text(STAFFED.replace("zone: Europe/Berlin", "zone: Europe/Atlantis"))
    bad = CliRunner().invoke(app, arguments)
    assert isinstance(bad.exception, FileError)
    assert "directory.yml, line" in str(bad.exception)
