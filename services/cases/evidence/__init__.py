"""Evidence with a chain of custody: an aggregate of its own, and the store of its bytes."""
