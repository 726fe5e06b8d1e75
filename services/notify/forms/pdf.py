"""A form as PDF: the same document gives the same bytes; text only, no link, no script.

Everything is escaped before it reaches the layout, whose little markup is ours alone.
"""

import io
import threading
import unicodedata
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer

from services.notify.forms.fonts import BODY, Fonts

__all__ = ["form_pdf"]

_INK, _GREY, _RED = HexColor("#16202b"), HexColor("#5b6670"), HexColor("#a3161a")
_TITLE = ParagraphStyle("title", fontName=BODY, fontSize=16, leading=21, textColor=_INK)
_TEXT = ParagraphStyle("text", fontName=BODY, fontSize=10, leading=14, textColor=_INK)
_LABEL = ParagraphStyle("label", parent=_TEXT, fontSize=11, leading=15, spaceBefore=9)
_SMALL = ParagraphStyle("small", parent=_TEXT, fontSize=8, leading=11, textColor=_GREY)
_MISSING = ParagraphStyle("missing", parent=_TEXT, textColor=_RED)

_ONE_AT_A_TIME = threading.Lock()
"""Fonts are the process's, and remember the letters of the document that is being made."""


def form_pdf(document: Mapping[str, Any], fonts: Fonts) -> bytes:
    """Return *document*, as `form` made it, on A4 pages."""
    with _ONE_AT_A_TIME:
        return _laid_out(document, fonts)


def _laid_out(document: Mapping[str, Any], fonts: Fonts) -> bytes:
    parts: list[Any] = [
        _paragraph(document["title"], _TITLE, fonts),
        Spacer(1, 3 * mm),
        _paragraph(document["heading"], _TEXT, fonts),
        Spacer(1, 3 * mm),
    ]
    parts += [_paragraph(line, _SMALL, fonts) for line in _facts(document)]
    if document["missing"]:
        names = ", ".join(document["missing"])
        parts.append(_paragraph(f"Not complete. Missing: {names}", _MISSING, fonts))
    for field in document["fields"]:
        if field["value"] is None and not field["required"]:
            continue
        parts += _field(field, fonts)
    parts += _signatures(document, fonts)
    out = io.BytesIO()
    number = document["incident"]

    def decorate(canvas: Any, layout: Any) -> None:
        canvas.saveState()
        words = f"{number} · {document['regime']} · {document['phase']} · page {layout.page}"
        x = 20 * mm + 6  # a frame pads its text by six points
        for font, piece in fonts.runs(words):
            canvas.setFont(font, 8)
            canvas.setFillColor(_GREY)
            canvas.drawString(x, 12 * mm, piece)
            x += canvas.stringWidth(piece, font, 8)
        canvas.restoreState()

    layout = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=20 * mm,
        rightMargin=20 * mm,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        invariant=1,  # no date of making and no drawn id: the digest can be recorded
        title=_line(f"{number}: {document['title']}"),
        author=_line(document["operator"]),
        subject=f"{document['regime']} {document['phase']}",
        creator="Tocsin",
        lang="en",
    )
    layout.build(parts, onFirstPage=decorate, onLaterPages=decorate)
    return out.getvalue()


def _facts(document: Mapping[str, Any]) -> list[str]:
    due = f"Due {_instant(document['due_at'])}"
    if document["due_is_internal_target"]:
        due += " (the operator's own target)"
    whose = f" · tenant {document['tenant']}" if document["tenant"] else ""
    template = document["template"]
    return [
        f"Clock: {document['clock'].replace('_', ' ')} at {_instant(document['clock_at'])} · {due}"
        f"{whose}",
        f"Regime {document['regime']} {document['regime_version']} · obligation"
        f" {document['obligation_id']}",
        f"Template {template['id']} {template['version']} · sha256 {template['digest']}",
    ]


def _field(field: Mapping[str, Any], fonts: Fonts) -> list[Any]:
    head = [_paragraph(field["label"], _LABEL, fonts)]
    if field["asks"]:
        head.append(_paragraph(field["asks"], _SMALL, fonts))
    if field["value"] is None:
        return [KeepTogether([*head, _paragraph(f"Missing: {field['name']}", _MISSING, fonts)])]
    lines = str(field["value"]).split("\n")
    first, *rest = [_paragraph(line or " ", _TEXT, fonts) for line in lines]
    by = _paragraph(f"Filled by: {field['filled_by']}", _SMALL, fonts)
    return [KeepTogether([*head, first]), *rest, by]


def _signatures(document: Mapping[str, Any], fonts: Fonts) -> list[Any]:
    drafted, approved = document["drafted_by"], document["approved_by"]
    words = f"Drafted by {drafted or 'nobody yet'} · approved by {approved or 'nobody yet'}"
    parts = [Spacer(1, 6 * mm), _paragraph(words, _SMALL, fonts)]
    values = "".join(str(field["value"]) for field in document["fields"])
    if fonts.borrows(values):
        words = "Chinese, Japanese and Korean letters are shown in fonts of the reader."
        parts.append(_paragraph(words, _SMALL, fonts))
    return parts


def _instant(moment: str) -> str:
    return moment.replace(".000000Z", "Z")


def _paragraph(text: str, style: ParagraphStyle, fonts: Fonts) -> Any:
    pieces = [
        escape(piece) if font == BODY else f'<font name="{font}">{escape(piece)}</font>'
        for font, piece in fonts.runs(_line(text))
    ]
    # Where there are no spaces, a line may break between any two letters.
    wide = any(unicodedata.east_asian_width(c) in "WF" for c in text)
    longest = max(map(len, text.split()), default=0)
    if wide or longest > 60:
        style = ParagraphStyle(f"{style.name}-wide", parent=style, wordWrap="CJK")
    return Paragraph("".join(pieces), style)


def _line(text: str) -> str:
    """Return *text* on one line, without what has no shape of its own or turns the direction."""
    plain = unicodedata.normalize("NFC", text)
    return "".join(c if c.isprintable() else " " for c in plain)
