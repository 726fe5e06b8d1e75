"""The one error of the embedded platform."""

from shared.errors import UserError


class PlatformError(UserError):
    """A part of the platform cannot run; the message is one sentence for the operator."""
