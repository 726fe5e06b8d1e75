"""Replay: stored events go through detect again, in their order, marked as what they are."""
