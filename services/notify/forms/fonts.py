"""Which font shows which letter: embedded ones first, then those that PDF readers bring along.

Latin, Greek and Cyrillic letters (and more) are Noto Sans, embedded. For Chinese, Japanese and
Korean an operator can name TrueType fonts, which are embedded then; without them the standard
CJK fonts of the PDF specification are named and the reader's own are shown. A letter that no font
has is written as its code point: a form never drops a letter silently.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from shared.errors import UserError

__all__ = ["BODY", "FontError", "Fonts", "load_fonts"]

BODY = "TocsinBody"
# By the script that a letter belongs to (ISO 32000-1, 9.7.5.2: predefined CMaps of these).
_KOREAN, _JAPANESE, _CHINESE = "HYGothic-Medium", "HeiseiKakuGo-W5", "STSong-Light"
_BORROWED = frozenset({_KOREAN, _JAPANESE, _CHINESE})


class FontError(UserError):
    """A font that an operator named cannot be used."""


@dataclass(frozen=True, slots=True)
class Fonts:
    """The embedded fonts in order, each with the letters that it has."""

    embedded: tuple[tuple[str, frozenset[int]], ...]

    def runs(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield *text* in pieces, each with the font that shows it."""
        kana = any("\u3040" <= c <= "\u30ff" for c in text)
        font, piece = BODY, ""
        for letter in text:
            shown, letters = self._font(letter, kana)
            if shown != font and piece:
                yield font, piece
                piece = ""
            font = shown
            piece += letters
        if piece:
            yield font, piece

    def borrows(self, text: str) -> bool:
        """Tell whether a letter of *text* is shown in a font that is not embedded."""
        return any(font in _BORROWED for font, _ in self.runs(text))

    def _font(self, letter: str, kana: bool) -> tuple[str, str]:
        code = ord(letter)
        for name, letters in self.embedded:
            if code in letters:
                return name, letter
        if 0xAC00 <= code <= 0xD7A3 or 0x3130 <= code <= 0x318F:
            return _KOREAN, letter
        if 0x3040 <= code <= 0x30FF:
            return _JAPANESE, letter
        if 0x4E00 <= code <= 0x9FFF or 0x3000 <= code <= 0x303F or 0xFF00 <= code <= 0xFFEF:
            return (_JAPANESE if kana else _CHINESE), letter
        return BODY, f"[U+{code:04X}]"


def load_fonts(paths: Sequence[Path] = ()) -> Fonts:
    """Return the fonts with those at *paths* after Noto Sans; FontError for one unusable."""
    return _load(tuple(paths))


@lru_cache(maxsize=8)
def _load(paths: tuple[Path, ...]) -> Fonts:
    noto = files("fontpkg_noto_sans").joinpath("files").joinpath("NotoSans[wdth,wght].ttf")
    found = [_embedded(BODY, str(noto))]
    for path in paths:
        name = f"Tocsin{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
        found.append(_embedded(name, str(path)))
    for name in sorted(_BORROWED):
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return Fonts(tuple(found))


def _embedded(name: str, path: str) -> tuple[str, frozenset[int]]:
    try:
        font: Any = TTFont(name, path)
    except (TTFError, OSError) as error:
        raise FontError(f"form_fonts: {path}: {error}") from error
    pdfmetrics.registerFont(font)
    return name, frozenset(font.face.charToGlyph)
