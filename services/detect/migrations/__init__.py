"""Migrations of detect's schema."""

HEAD = "0004"
