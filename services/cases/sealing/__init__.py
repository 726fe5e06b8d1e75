"""Sealing: what must be possible to erase is stored encrypted under keys that can be destroyed."""
