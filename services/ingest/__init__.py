"""Ingest: the front door. What it answers 2xx to is on disk, understood or kept in quarantine."""
