"""Doors for reports of other tools and of mail: each with a key, all leading to the same desk."""
