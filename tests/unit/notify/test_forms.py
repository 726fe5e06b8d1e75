"""Forms to authorities: what is filled and by what, what is missing; the PDF says the same."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest
import reportlab

from services.notify.forms.fonts import FontError, load_fonts
from services.notify.forms.form import canonical, digest
from services.notify.forms.pdf import form_pdf
from services.notify.wording.facts import Known
from tests.support.forms import AWARE, filled_form, gdpr_initial

pytestmark = pytest.mark.unit

KNOWN = Known(
    number="TOCSIN-2026-0001",
    facts={"summary": "Mail was read.", "potential_impact": "Mail was readable."},
    clocks={"aware": AWARE},
    stated={"persons": 1200},
    affected="Affected customers: 3 confirmed, 4 probable, 0 possible",
    privacy_contact="dpo@op.example",
)
NAMES = "Čeněk Müller, Łódź, Ωμέγα, Жанна"
ASIAN = "日本の山田太郎 汉字公司 한국"


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(io.BytesIO(pdf))
    pages = [document[n].get_textpage().get_text_range() for n in range(len(document))]
    return "\n".join(pages).replace("\r\n", "\n")


def test_before_a_draft_the_facts_fill_and_the_rest_is_missing() -> None:
    document = filled_form(gdpr_initial(), None, KNOWN)
    fields = {one["name"]: one for one in document["fields"]}
    assert fields["nature"]["value"] == "Mail was read."
    assert fields["nature"]["filled_by"] == "incident summary"
    numbers = fields["categories_and_numbers"]
    assert numbers["value"].splitlines() == ["Persons concerned: 1200", KNOWN.affected]
    assert numbers["filled_by"] == "stated fact persons, affected list affected_customers"
    assert fields["dpo_contact"]["filled_by"] == "operator's settings privacy_contact"
    assert "Art. 33(3)(a)" in fields["nature"]["asks"]
    assert document["missing"] == ["measures"]
    assert fields["measures"]["filled_by"] is None
    # Only where the notice is late are reasons asked for.
    assert not fields["reasons_for_delay"]["required"]


def test_a_draft_counts_alone_and_says_who_wrote_it() -> None:
    document = filled_form(gdpr_initial(), {"nature": "Written.", "extra": "More."}, KNOWN)
    fields = {one["name"]: one for one in document["fields"]}
    assert fields["nature"]["filled_by"] == "iris (draft)"
    assert fields["extra"]["value"] == "More."
    assert "consequences" in document["missing"]


def test_the_same_input_gives_the_same_bytes_and_another_gives_others() -> None:
    document = filled_form(gdpr_initial(), {"nature": NAMES}, KNOWN)
    again = filled_form(gdpr_initial(), {"nature": NAMES}, KNOWN)
    assert digest(canonical(document)) == digest(canonical(again))
    first, second = (digest(form_pdf(one, load_fonts())) for one in (document, again))
    assert first == second
    other = filled_form(gdpr_initial(), {"nature": NAMES + "."}, KNOWN)
    assert digest(form_pdf(other, load_fonts())) != first


def test_the_pdf_says_what_the_form_says_in_every_script() -> None:
    words = f"{NAMES} {ASIAN} שלום \U0001f512"
    document = filled_form(gdpr_initial(), {"nature": words}, KNOWN, operator="Größe & Söhne <AG>")
    text = text_of(form_pdf(document, load_fonts()))
    assert NAMES in text
    for name in ASIAN.split():
        assert name in text
    assert "[U+05E9]" in text  # no font has it: named, not dropped
    assert "[U+1F512]" in text
    assert "Größe & Söhne <AG>" in text
    for name in document["missing"]:
        assert f"Missing: {name}" in text
    assert document["template"]["digest"] in text
    assert "shown in fonts of the reader" in text


def test_the_pdf_holds_no_link_no_script_and_no_markup_of_others() -> None:
    evil = '<a href="http://evil.example">x</a> <b>b</b> <img src="/etc/passwd"/> &amp; ]]> <!--'
    document = filled_form(gdpr_initial(), {"nature": evil, "measures": "a\n\n\tb" + "x" * 5000})
    pdf = form_pdf(document, load_fonts())
    assert not re.search(rb"/(URI|JavaScript|JS|Launch|EmbeddedFile|AA|OpenAction)\b", pdf)
    text = text_of(pdf)
    assert '<a href="http://evil.example">x</a>' in text
    assert '<img src="/etc/passwd"/>' in text
    assert text.count("x") >= 5000  # a word longer than a line is broken, not cut


def test_long_forms_go_over_pages() -> None:
    words = "\n".join(f"Line {n} of a long story about {NAMES}." for n in range(400))
    pdf = form_pdf(filled_form(gdpr_initial(), {"nature": words}), load_fonts())
    assert "Line 399" in text_of(pdf)
    assert len(pypdfium2.PdfDocument(io.BytesIO(pdf))) > 5


def test_a_font_of_the_operators_goes_before_the_readers_and_a_wrong_one_is_refused(
    tmp_path: Path,
) -> None:
    wrong = tmp_path / "font.ttf"
    wrong.write_bytes(b"no font")
    with pytest.raises(FontError, match=r"form_fonts: .*font\.ttf"):
        load_fonts([wrong])
    with pytest.raises(FontError, match="form_fonts"):
        load_fonts([tmp_path / "none.ttf"])

    vera = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
    fonts = load_fonts([vera])
    assert next(name for name, _ in fonts.embedded) == "TocsinBody"
    assert len(fonts.embedded) == 2


def test_a_later_period_is_named_as_such() -> None:
    owed = replace(gdpr_initial(), phase="supplement#2", content=("further_information",))
    document = filled_form(owed, None, KNOWN)
    assert (document["phase"], document["period"]) == ("supplement", 2)
    assert "supplement (2)" in document["heading"]
