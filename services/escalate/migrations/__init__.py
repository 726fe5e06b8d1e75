"""Migrations of escalate's schema."""

HEAD = "0012"
