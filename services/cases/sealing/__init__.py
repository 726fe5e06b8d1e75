"""Sealing: what must be possible to erase is stored encrypted under a key that can be destroyed."""
