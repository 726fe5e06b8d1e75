"""Lines of text that logs are made of, into fields."""
