"""Migrations of detect's schema."""

HEAD = "0005"
