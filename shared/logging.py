"""Structured logs: one JSON object a line on stdout, secrets scrubbed, trace id attached."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from shared.trace import trace_id

__all__ = ["configure_logging"]

_SECRET_KEY = re.compile(r"secret|password|passwd|token|authorization|api_?key|seed|cookie", re.I)
_SECRET_TEXT = re.compile(
    r"(tocsin_[a-z0-9-]+_)[A-Za-z0-9_-]{20,}"  # our own keys
    r"|(://[^:/@\s]*:)[^@/\s]+(?=@)"  # passwords inside URLs
    r"|(Bearer |Splunk |ApiKey |Basic )[A-Za-z0-9._~+/=-]+"
)


def _scrub_text(text: str) -> str:
    return _SECRET_TEXT.sub(lambda m: f"{m[1] or m[2] or m[3]}***", text)


def _scrub(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = _scrub_text(value)
    return event


def _add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if trace := trace_id():
        event["trace_id"] = trace
    return event


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send structlog and the standard library's loggers to stdout as JSON lines."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.format_exc_info,
        _scrub,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "nats", "alembic", "httpx"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
