"""Migrations of ingest's schema."""

HEAD = "0003"
