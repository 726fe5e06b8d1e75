"""Settings: read once from the environment, typed, frozen; a bad one ends the boot with a sentence.

A field ``database_url`` of service ``cases`` is looked up, first hit wins, as
``TOCSIN_CASES_DATABASE_URL``, ``TOCSIN_CASES_DATABASE_URL_FILE``, ``TOCSIN_DATABASE_URL``,
``TOCSIN_DATABASE_URL_FILE``; ``*_FILE`` names a file whose content is the value (a mounted secret).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Self, TypeVar, Union, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import UserError

__all__ = ["ServiceSettings", "SettingsError", "load_settings", "require"]


class SettingsError(UserError):
    """The environment describes no service that could run; the message names the variable."""


class _Environment(PydanticBaseSettingsSource):
    """The lookup described above; lists and tables are written as JSON."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        service = self.settings_cls.service.upper()  # type: ignore[attr-defined]  # ServiceSettings
        for variable in (f"TOCSIN_{service}_{field_name.upper()}", f"TOCSIN_{field_name.upper()}"):
            text = _read(variable)
            if text is None:
                continue
            if not _is_structured(field.annotation):
                return text, field_name, False
            try:
                return json.loads(text), field_name, True
            except ValueError as error:
                raise SettingsError(f"{variable} is not JSON: {error}") from error
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


def _read(variable: str) -> str | None:
    if variable in os.environ:
        return os.environ[variable]
    file = os.environ.get(f"{variable}_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable}_FILE: {file}: {error.strerror}") from error


def _is_structured(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(_is_structured(part) for part in get_args(annotation))
    return origin in (list, dict, tuple) or annotation in (list, dict)


class ServiceSettings(BaseSettings):
    """What every service needs; each service adds its own fields, all with safe defaults."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    service: ClassVar[str]

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    database_url: SecretStr | None = None
    nats_url: str = "nats://127.0.0.1:4222"
    nats_nkey_seed: SecretStr | None = None
    jwks_file: Path | None = Field(None, description="public keys of locally issued tokens")
    oidc_issuer: str | None = Field(None, description="OpenID provider whose tokens are accepted")
    audience: str = Field("tocsin", description="the `aud` that a token must carry")
    roles_claim: str = Field("roles", description="the claim that holds roles or groups")
    role_map: dict[str, str] = Field(
        default_factory=dict, description="group of the identity provider → role of Tocsin (JSON)"
    )
    log_level: str = "INFO"
    drain_seconds: float = Field(20.0, ge=0, description="time to finish requests after SIGTERM")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls)

    @classmethod
    def unknown_variables(cls, environment: Mapping[str, str]) -> list[str]:
        """Return the variables that are addressed to this service and mean nothing to it."""
        prefix = f"TOCSIN_{cls.service.upper()}_"
        known = {prefix + name.upper() for name in cls.model_fields}
        return sorted(
            name
            for name in environment
            if name.startswith(prefix)
            and name not in known  # a field may itself be called something_file
            and name.removesuffix("_FILE") not in known
        )

    def with_overrides(self, **values: Any) -> Self:
        """Return a copy with *values* replaced (tests and the demo)."""
        return self.model_copy(update=values)


S = TypeVar("S", bound=ServiceSettings)


def load_settings(cls: type[S]) -> S:
    """Return the settings of *cls*; SettingsError names each variable that is wrong or unknown."""
    if unknown := cls.unknown_variables(os.environ):
        raise SettingsError(f"unknown setting {', '.join(unknown)}")
    try:
        return cls()
    except ValidationError as error:
        prefix = f"TOCSIN_{cls.service.upper()}_"
        raise SettingsError(
            "; ".join(
                f"{prefix}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}"
                for e in error.errors()
            )
        ) from error


def require(settings: ServiceSettings, name: str) -> str:
    """Return the secret that *settings* cannot do without; SettingsError when it is not given."""
    value = getattr(settings, name)
    if value is None:
        raise SettingsError(f"TOCSIN_{settings.service.upper()}_{name.upper()} is not set")
    secret: str = value.get_secret_value()
    return secret
