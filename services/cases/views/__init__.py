"""What is shown of incidents, projected from the log by pure functions; one module a view."""

from typing import Any

Document = dict[str, Any]
"""A row of a view: plain JSON values."""
