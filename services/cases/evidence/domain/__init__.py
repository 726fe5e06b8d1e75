"""What an item of evidence is and what may be done with it: standard library only."""
