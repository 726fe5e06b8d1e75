"""Detect: every accepted event is evaluated; what matches becomes a detection that says why."""
