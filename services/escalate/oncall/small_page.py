"""The few pages that links lead to: a heading, words, a form; no script, nothing from elsewhere."""

from collections.abc import Sequence
from html import escape

from fastapi.responses import HTMLResponse

__all__ = ["page", "table"]

# Nothing but the form: no script, no other origin, and no address left behind in a log elsewhere.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport"
    ' content="width=device-width"><title>Tocsin</title><body style="font:16px sans-serif;'
    'max-width:40em;margin:3em auto;padding:0 1em"><h1>{title}</h1><p>{text}</p>{rest}'
)


def page(title: str, words: str, rest: str = "") -> HTMLResponse:
    """Return a page; *title* and *words* are text, *rest* is HTML of ours."""
    body = _PAGE.format(title=escape(title), text=escape(words), rest=rest)
    return HTMLResponse(body, headers=_HEADERS)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table of texts, as HTML."""
    cells = "".join(
        "<tr>" + "".join(f"<td style='padding:.2em 1em .2em 0'>{escape(c)}</td>" for c in row)
        for row in rows
    )
    return f"<table>{cells}</table>"
