"""`tocsin scan`: the rules of detect on files, without a platform."""
