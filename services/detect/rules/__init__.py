"""Sigma rules: text to immutable rule, event to matching rules, match to its reasons; pure."""
