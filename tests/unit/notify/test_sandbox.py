"""The templates' allow-list: what passes is rendered without fail, whatever the values are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.wording.sandbox import LISTS, TemplateRefusedError, check, rendered

pytestmark = pytest.mark.unit

NAMES = LISTS | {"number", "confidence", "period"}
VALUES: list[dict[str, Any]] = [
    {
        "services": ["mail", "{{ 7*7 }}"],
        "regions": [],
        "data_classes": ["personal"],
        "further": [{"label": "Cause", "text": "a\nb"}],
        "number": "N-1",
        "confidence": "possible",
        "period": 2,
    },
    {**{name: [] for name in LISTS}, "number": "", "confidence": "probable", "period": 1},
]
# Pieces of what people write, right and wrong, put together at random.
PIECES = [
    "{{ number }}", "{{ period }}", "{{ services }}", "{{ further }}", "{{ x }}", "{{ x.label }}",
    "{{ x.text | indent(2) }}", "{{ services | join(', ') }}", "{{ further | join }}",
    "{{ number | join }}", "{{ services | indent(3) }}", "{{ number | trim('x') }}",
    "{{ number | trim(3) }}", "{{ number | upper }}", "{{ number | upper(1) }}",
    "{{ number | indent('  ') }}", "{{ number | indent(4) | trim }}", "{{ x | upper }}",
    "{% for x in services %}", "{% for x in further %}", "{% for number in regions %}",
    "{% for x in number %}", "{% endfor %}", "{% if number == 'N-1' %}", "{% if period > 1 %}",
    "{% if services %}", "{% if number < 1 %}", "{% if x == number and not regions %}",
    "{% else %}", "{% elif period != 1 or further %}", "{% endif %}", "plain { words }", "\n",
    "{% filter upper %}", "{% endfilter %}", "{{ services.append }}", "{{ number.label }}",
    "{{ -period }}", "{{ 'a' ~ number }}", "{{ 'a' if number else 'b' }}", "{{ none }}",
    "{{ [number] }}", "{{ loop.index }}", "{{ True }}", "{{ 1.5 }}", "{{ number[0] }}",
]  # fmt: skip


def test_a_refused_comparison_names_its_line() -> None:
    with pytest.raises(TemplateRefusedError, match="line 2: only == and !="):
        check("plain\n{% if period > 1 %}{% endif %}", NAMES)


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_what_passes_the_check_is_rendered_without_fail(pieces: list[str]) -> None:
    source = "".join(pieces)
    try:
        used = check(source, NAMES)
    except TemplateRefusedError as refused:
        assert refused.line >= 1  # noqa: PT017 - of many sources some are refused
        return
    assert used <= NAMES
    for values in VALUES:
        rendered(source, values)


@pytest.mark.parametrize(
    "source",
    [
        "{% for x in further %}{{ x.label }}: {{ x.text | trim | indent(2) }}\n{% endfor %}",
        "{{ services | join(', ') | upper }}",
        "{% if confidence == 'possible' %}a{% elif not regions %}b{% else %}c{% endif %}",
    ],
)
def test_what_templates_need_passes(source: str) -> None:
    check(source, NAMES)
    assert all(isinstance(rendered(source, values), str) for values in VALUES)


@pytest.mark.parametrize(
    "source",
    [
        "{% if " + "(" * 500 + "number" + ")" * 500 + " %}{% endif %}",
        "{% if " + "number or " * 5000 + "number %}{% endif %}",
        "{% if number %}" * 300 + "{% endif %}" * 300,
        "{{ " + "number | trim" + " | trim" * 3000 + " }}",
        "x" * (65 * 1024),
    ],
)
def test_what_is_deep_or_large_is_refused_and_not_fallen_over(source: str) -> None:
    with pytest.raises(TemplateRefusedError):
        check(source, NAMES)
