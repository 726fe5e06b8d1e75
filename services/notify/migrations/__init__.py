"""Notify's schema, oldest first."""

HEAD = "0011"
