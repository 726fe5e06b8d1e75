"""Settings come from the environment, from files, or end the boot with a sentence."""

from pathlib import Path
from typing import ClassVar

import pytest

from shared.settings import ServiceSettings, SettingsError, load_settings

pytestmark = pytest.mark.unit


class Settings(ServiceSettings):
    service: ClassVar[str] = "cases"


def test_the_services_own_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("postgresql://own\n")
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "postgresql://everybody")
    monkeypatch.setenv("TOCSIN_PORT", "9000")
    monkeypatch.setenv("TOCSIN_CASES_DATABASE_URL_FILE", str(secret))
    monkeypatch.setenv("TOCSIN_CASES_ROLE_MAP", '{"sec": "security_response"}')
    settings = load_settings(Settings)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://own"
    assert settings.port == 9000
    assert settings.role_map == {"sec": "security_response"}
    assert "own" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TOCSIN_CASES_PORT", "many", "TOCSIN_CASES_PORT: "),
        ("TOCSIN_CASES_PROT", "1", "unknown setting TOCSIN_CASES_PROT"),
        ("TOCSIN_CASES_DATABASE_URL_FILE", "/no/such", "No such file"),
    ],
)
def test_a_bad_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=sentence):
        load_settings(Settings)
