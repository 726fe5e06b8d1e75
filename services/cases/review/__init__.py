"""The post-incident review: an aggregate of its own in the log of cases."""
