"""Managed rules as files beside all others: one loader, one kind of reload for both."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from services.detect.lifecycle.store import active_rules, newest_position
from services.detect.rules.load import RETIRED

__all__ = ["ManagedFolder"]


class ManagedFolder:
    """Keeps *folder* as the database says; a reconciler's work."""

    def __init__(self, engine: AsyncEngine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._position = -1

    @property
    def written(self) -> bool:
        """Return whether the folder has ever been as the database says."""
        return self._position >= 0

    async def once(self) -> int:
        """Write what changed since; returns 0."""
        position = await newest_position(self._engine)
        if position != self._position:
            texts, retired = await active_rules(self._engine)
            await asyncio.to_thread(self._write, texts, retired)
            self._position = position
        return 0

    def _write(self, texts: Mapping[str, str], retired: set[str]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = {f"{rule_id}.yml": text for rule_id, text in texts.items()}
        wanted[RETIRED] = "".join(f"- {rule_id}\n" for rule_id in sorted(retired))
        for name, content in wanted.items():
            path = self._folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != content:
                # Whole or not at all: the loader may look at any moment.
                draft = path.with_name(path.name + ".draft")
                draft.write_text(content, encoding="utf-8")
                os.replace(draft, path)
        for path in self._folder.iterdir():
            if path.name not in wanted:
                path.unlink()
