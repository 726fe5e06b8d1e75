"""The base of every error whose message is one sentence for whoever started the command."""

__all__ = ["UserError"]


class UserError(Exception):
    """Expected: the message says what is wrong and where; there is nothing to debug."""
