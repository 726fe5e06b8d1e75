"""What a post-incident review is and what may be done with it: standard library only."""
