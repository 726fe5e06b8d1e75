"""The fast matcher: the work that rules have in common is done once (docs/detection.md)."""
