"""Templates and required content as data: complete, chosen by language and regime, or refused."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.notify.inventory import NOTICE
from services.notify.obligations.regime_file import shipped_regimes
from services.notify.wording.catalogue import Catalogue, Kind, locales
from services.notify.wording.catalogue_file import WordingError, load_wording
from services.notify.wording.keeper import WordingKeeper
from shared.yaml_lines import LineError
from tests.support.wording import REGIMES, shipped, with_file
from tocsin.cli import app

pytestmark = pytest.mark.unit

NEEDED = (
    "{{ description }} {{ effect_on_customer_data }} {{ actions_taken }} {{ suggested_actions }}"
    " {{ next_update }} {% for f in further %}{{ f.text }}{% endfor %}"
)
ROW = f"""version: "7"
templates:
  - id: ID
    kind: notice
    locale: LOCALE
    regimes: [REGIMES]
    requires: [REQUIRES]
    subject: "SUBJECT"
    standing: {{next_update: "Soon."}}
    text: |
      {NEEDED}
      MORE
"""


def row(**changes: str) -> str:
    blank = dict.fromkeys(("REGIMES", "REQUIRES", "MORE"), "")
    values = {"ID": "mine", "LOCALE": "en", "SUBJECT": "s", **blank}
    text = ROW
    for name, value in {**values, **changes}.items():
        text = text.replace(name, value)
    return text


def test_every_field_that_a_regime_names_is_known_and_asked_for_in_words() -> None:
    wording = shipped()
    for regime in shipped_regimes().rows:
        for phase in regime.phases:
            for name in phase.content:
                assert name in wording.fields, (regime.id, name)
                assert wording.asked(regime.id, name), (regime.id, name)
    for (regime_id, name), words in wording.asks.items():
        used = {n for r in shipped_regimes().rows if r.id == regime_id
                for p in r.phases for n in p.content}  # fmt: skip
        assert name in used, (regime_id, name, words)


def test_customers_are_written_to_in_english_and_german() -> None:
    for kind in (Kind.NOTICE, Kind.CORRECTION):
        for channel in ("email", "webhook"):
            for locale in ("en", "de"):
                template = shipped().choose(kind, channel, locale)
                assert template.locale == locale
                assert all(template.standing.values())
    assert {shipped().label(name, "de") for name in NOTICE}.isdisjoint(
        {shipped().label(name) for name in NOTICE}
    )


def test_the_language_falls_back_to_its_kin_then_the_default_then_english() -> None:
    assert list(locales("de-AT", "fr")) == ["de-AT", "de", "fr", "en"]
    wording = shipped()
    for wanted, found in (("de-AT", "de"), ("fr", "en"), (None, "en")):
        assert wording.choose(Kind.NOTICE, "email", wanted).locale == found
    assert load_wording(None, REGIMES, "de").choose(Kind.NOTICE, "email", "fr").locale == "de"


def test_a_template_of_a_regime_goes_before_one_of_all_and_the_urgent_regime_leads() -> None:
    text = row(ID="one", REGIMES="dora_30", MORE="D").replace("templates:\n", "", 1)
    other = row(ID="two", REGIMES="gdpr_33_2", MORE="G").split("templates:\n")[1]
    wording = with_file(text.replace('version: "7"\n', 'version: "7"\ntemplates:\n') + other)

    def chosen(*regimes: str, locale: str = "en") -> str:
        return wording.choose(Kind.NOTICE, "email", locale, regimes).id

    assert chosen("gdpr_33_2", "dora_30") == "two"
    assert chosen("dora_30", "gdpr_33_2") == "one"
    assert chosen("contract_sla") == "customer_notice"
    assert chosen("dora_30", locale="de") == "customer_notice"  # the language counts more


def test_an_operators_template_replaces_the_shipped_one_of_its_id_and_language() -> None:
    before = shipped().choose(Kind.NOTICE, "email", "en").ref
    wording = with_file(row(ID="customer_notice", MORE="Mine."))
    after = wording.choose(Kind.NOTICE, "email", "en")
    assert after.ref.version == "7"
    assert after.ref.digest != before.digest
    assert after.origin == "mine.yml"
    assert wording.choose(Kind.NOTICE, "email", "de").origin == "shipped"
    # The same words are the same digest, whichever file they stand in.
    again = with_file(row(ID="customer_notice", MORE="Mine."))
    assert again.choose(Kind.NOTICE, "email", "en").ref == after.ref


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (row(MORE="{{ secret }}"), 12, "there is no 'secret' here"),
        (row(MORE="{{ description.x }}"), 12, "only an item of further has fields"),
        (row(MORE="{% include 'x' %}"), 12, "include is not allowed"),
        (row(MORE="{% set x = 1 %}"), 12, "is not allowed"),
        (row(MORE="{% macro m() %}{% endmacro %}"), 12, "macro is not allowed"),
        (row(MORE="{{ number() }}"), 12, "call is not allowed"),
        (row(MORE="{{ 9 * 9 }}"), 12, "mul is not allowed"),
        (row(MORE="{{ number | indent(1000000000) }}"), 12, "200 at most"),
        (row(MORE="{{ number | tojson }}"), 12, "filter 'tojson' is none of"),
        (row(MORE="{% for x in regions %}{% for y in regions %}{{ y }}{% endfor %}{% endfor %}"),
         12, "in no other loop"),
        (row(MORE="{% for x in number %}{{ x }}{% endfor %}"), 12, "a loop goes over one of"),
        (row(MORE="{% if %}"), 12, "not a template"),
        (row(MORE="{{ number "), 12, "not a template"),
        (row(SUBJECT="{{ nobody }}"), 8, "subject: there is no 'nobody'"),
        (row(LOCALE="deutsch"), 5, "no language like de"),
        (row(REGIMES="gdpr"), 6, "there is no 'gdpr'"),
        (row(REQUIRES="phase_of_the_moon"), 7, "there is no 'phase_of_the_moon'"),
        (row(REQUIRES="root_cause"), 10, "never says root_cause"),
        (row().replace("{{ next_update }}", ""), 10, "never says next_update"),
        (row().replace("kind: notice", "kind: poem"), 4, "'poem' is none of"),
        (row(ID="My Template"), 3, "is no name"),
        (row().replace("standing:", "stand:"), 9, "unknown key 'stand'"),
        ('version: "1"\nfields:\n  - {id: x, label: {en: X}, from: [moon]}\n', 3, "'moon' is none"),
        ('version: "1"\nfields:\n  - {id: x, label: {de: X}}\n', 3, "no label in English"),
        ('version: "1"\nasks:\n  - {regime: gdpr, fields: {nature: x}}\n', 3, "no regime 'gdpr'"),
        ('version: "1"\nasks:\n  - {regime: pci, fields: {x: x}}\n', 3, "there is no field 'x'"),
        ("fields: []\n", 1, "has no version"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(LineError, match=re.escape(why)) as refused:
        with_file(text)
    assert refused.value.line == line


def test_a_folder_is_taken_whole_or_refused_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(WordingError, match="no folder with templates"):
        load_wording(tmp_path, REGIMES)
    (tmp_path / "a.yml").write_text(row(MORE="fine"))
    assert load_wording(tmp_path, REGIMES).templates[-1].origin == "a.yml"
    (tmp_path / "b.yml").write_text(row(MORE="{{ bad }}"))
    with pytest.raises(WordingError, match=r"b\.yml:12: template mine: text: there is no 'bad'"):
        load_wording(tmp_path, REGIMES)


def test_the_example_is_taken_and_serves_those_it_names() -> None:
    text = files("services.notify").joinpath("examples/templates.yml").read_text("utf-8")
    wording = with_file(text)
    chosen = wording.choose(Kind.NOTICE, "email", "en", ["gdpr_33_2", "dora_30"])
    assert chosen.requires == ("incident_data", "assistance")
    assert wording.label("change_ticket", "de") == "Änderungsantrag"
    assert wording.asked("uk_gdpr", "nature").endswith("as the ICO's form has it.")


def test_a_folder_is_checked_offline_and_each_wrong_row_is_named_with_its_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "good.yml").write_text(row())
    good = CliRunner().invoke(app, ["templates", "check", str(tmp_path)])
    assert (good.exit_code, good.stdout) == (0, f"{tmp_path}: good (1 templates)\n")
    two = row(LOCALE="klingon") + row(ID="other", MORE="{{ secret }}").partition("templates:\n")[2]
    (tmp_path / "rows.yml").write_text(two)
    (tmp_path / "whole.yml").write_text("version: [")
    bad = CliRunner().invoke(app, ["templates", "check", str(tmp_path)])
    assert bad.exit_code == 1
    first, second, third = bad.stdout.splitlines()
    assert first.startswith(f"{tmp_path / 'rows.yml'}:5: template mine: 'klingon' is no language")
    assert re.match(rf"{tmp_path / 'rows.yml'}:\d+: template other: text: .*secret", second)
    assert third.startswith(f"{tmp_path / 'whole.yml'}:")
    none = CliRunner().invoke(app, ["templates", "check", str(tmp_path / "none")])
    assert isinstance(none.exception, WordingError)


async def test_changed_files_take_force_and_wrong_ones_leave_what_was(tmp_path: Path) -> None:
    def load() -> Catalogue:
        return load_wording(tmp_path, REGIMES)

    def says() -> set[str]:
        return {t.subject for t in keeper.current.templates if t.id == "mine"}

    def write(text: str) -> None:
        (tmp_path / "new").write_text(text)  # another file each time: a tick of the clock is long
        (tmp_path / "new").replace(tmp_path / "mine.yml")

    write(row(SUBJECT="one"))
    keeper = WordingKeeper(tmp_path, load)
    await keeper.look()
    assert (says(), keeper.notices()) == ({"one"}, {})
    write(row(SUBJECT="two"))
    await keeper.look()
    assert says() == {"two"}
    write(row(SUBJECT="three", MORE="{{ secret }}"))
    await keeper.look()
    assert says() == {"two"}
    assert re.search(
        r"mine.yml:\d+: .*secret.* before stays in force", keeper.notices()["templates"]
    )
    (tmp_path / "mine.yml").unlink()  # a folder without templates is a mistake, as at the start
    await keeper.look()
    assert "no folder with templates" in keeper.notices()["templates"]
    write(row(SUBJECT="four"))
    await keeper.look()
    assert (says(), keeper.notices()) == ({"four"}, {})
