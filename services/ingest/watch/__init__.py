"""What comes in, held against what should: requirements, silence, clocks (R12a, R12b)."""
