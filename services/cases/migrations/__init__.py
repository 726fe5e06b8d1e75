"""The schema of cases; only ever expanded or contracted, never rewritten."""

HEAD = "0016"
