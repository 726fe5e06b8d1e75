"""Migrations of ingest's schema."""

HEAD = "0002"
