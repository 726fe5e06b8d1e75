"""Sigma correlations: text to immutable rule, matches to firings over event time; pure."""
