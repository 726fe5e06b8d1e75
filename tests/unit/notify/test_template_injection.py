"""What people write is never run: a corpus of template injections, as words and as templates.

A canary stands for code: a builtin that a payload would have to reach. None does.
"""

import builtins
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from jinja2 import TemplateError

from services.notify.correction_text import render_correction
from services.notify.forms.fonts import load_fonts
from services.notify.forms.pdf import form_pdf
from services.notify.message import REQUIRED, Subject, compose, render
from services.notify.told import Told
from services.notify.wording.catalogue import Kind
from services.notify.wording.facts import Known
from services.notify.wording.sandbox import environment
from shared.yaml_lines import LineError
from tests.support.forms import filled_form, gdpr_initial
from tests.support.wording import shipped, with_file

pytestmark = pytest.mark.unit

AT = datetime(2026, 3, 3, tzinfo=UTC)
CALL = "tocsin_canary()"
SUBCLASSES = "__class__.__mro__[1].__subclasses__()"
# Ways to the interpreter, by the value that they start from (CVE-2024-56326, CVE-2025-27516,
# CVE-2016-10745, CVE-2019-10906 and the usual gadget lists).
STARTS = ["''", "()", "[]", "{}", "1", "services", "tenant_name", "self", "cycler", "joiner",
          "namespace", "lipsum", "range", "dict", "number", "request", "config"]  # fmt: skip
GADGETS = [
    f"{{{{ X.{SUBCLASSES} }}}}",
    "{{ X['__class__']['__base__']['__subclasses__']() }}",
    "{{ X|attr('__class__')|attr('__mro__') }}",
    "{{ X|attr(['__cl','ass__']|join) }}",
    "{{ X|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    f"{{{{ X.__init__.__globals__['__builtins__'].{CALL} }}}}",
    f"{{{{ X.__globals__.__builtins__.eval('{CALL}') }}}}",
    "{{ '%s' | format(X.__class__) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(X) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(X) }}",
    "{{ (X|attr('format'))|attr('__globals__') }}",
    "{{ [X]|map(attribute='__class__')|list }}",
    "{{ [X]|map('attr', '__class__')|map('attr', '__mro__')|list }}",
    "{{ [X]|groupby('__class__') }}",
]
BARE = [
    f"{{{{ {CALL} }}}}",
    f"{{% for x in [1] %}}{{{{ {CALL} }}}}{{% endfor %}}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('id') }}",
    "{% extends 'x' %}",
    "{{ services.append('x') }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__.__globals__ }}",
    "{{ lipsum.__globals__.os.popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__.__builtins__ }}",
    "{{ range(1000000000) | list }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "${7*191}", "#{7*191}", "<%= 7*191 %>", "{{7*191}}", "{%raw%}{{7*191}}{%endraw%}",
    "{{{{7*191}}}}", "{#7*191#}", "@(7*191)", "*{7*191}", "[[${7*191}]]",
]  # fmt: skip
PAYLOADS = [g.replace("X", start) for g in GADGETS for start in STARTS] + BARE
SECRETS = ("<class ", "subclasses", "__globals__'", "root:", "uid=", "<function", "<module")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    runs: list[str] = []
    monkeypatch.setattr(builtins, "tocsin_canary", lambda: runs.append("ran"), raising=False)
    return runs


def test_the_corpus_is_large_enough() -> None:
    assert len(set(PAYLOADS)) >= 250


def test_words_are_words(ran: list[str]) -> None:
    wording = shipped()
    names = (*REQUIRED, "root_cause")
    for number, payload in enumerate(PAYLOADS):
        subject = Subject(
            tenant="t",
            display_name=payload,
            confidence="probable",
            services=(payload,),
            regions=(payload,),
            data_classes=(payload,),
        )
        # Written by people, and stated as facts.
        known = Known(number=payload, facts={"summary": payload, "potential_impact": payload})
        template = wording.choose(Kind.NOTICE, "email", ("en", "de")[number % 2])
        written = dict.fromkeys(names[2:], payload)
        content = render(
            compose(names, template, wording, known, written, payload),
            subject,
            wording,
            number=payload,
            notification_id=UUID(int=1),
            operator_name=payload,
            at=AT,
        )
        assert content.text.count(payload) >= len(names) + 4
        assert json.loads(content.body)["data"]["description"] == payload
        told = Told(
            id=UUID(int=2), list_id=UUID(int=3), tenant=payload, channel="email",
            recipients={}, why=None, created_at=AT,
        )  # fmt: skip
        corrected = render_correction(
            told, wording, why="content", statement=payload, number=payload,
            notification_id=UUID(int=4), operator_name=payload, at=AT,
        )  # fmt: skip
        assert payload in corrected.text
    assert ran == []


def test_forms_hold_words_as_words(ran: list[str]) -> None:
    owed = replace(gdpr_initial(), recipient="r")
    for payload in PAYLOADS[::8]:
        document = filled_form(owed, dict.fromkeys(owed.content, payload), operator=payload)
        assert [one["value"] for one in document["fields"] if one["required"]] == (
            [payload] * len(owed.content)
        )
        assert payload in document["heading"]
        pdf = form_pdf(document, load_fonts())
        assert not any(mark in pdf for mark in (b"/URI", b"/JavaScript", b"/JS", b"/Launch"))
    assert ran == []


def test_a_template_of_somebody_elses_reaches_nothing(ran: list[str]) -> None:
    """Even past the check at load, the sandbox gives nothing away."""
    values: dict[str, Any] = {"services": ["mail"], "tenant_name": "t", "number": "N"}
    for payload in PAYLOADS:
        try:
            text = environment().from_string(payload).render(**values)
        except (TemplateError, TypeError, ValueError, OverflowError):
            continue
        assert not any(secret in text for secret in SECRETS), (payload, text)
    assert ran == []
    assert values["services"] == ["mail"]


OPERATORS = """
version: "1"
templates:
  - id: mine
    kind: notice
    locale: en
    subject: "s"
    standing: {}
    text: |
      {{ description }} {{ effect_on_customer_data }} {{ actions_taken }} {{ suggested_actions }}
      {{ next_update }} {% for f in further %}{{ f.label }}{{ f.text }}{% endfor %}
      PAYLOAD
"""


def test_an_operators_template_is_refused_at_load_or_is_only_text(ran: list[str]) -> None:
    taken = []
    for payload in PAYLOADS:
        try:
            wording = with_file(OPERATORS.replace("PAYLOAD", payload))
        except LineError as refused:
            assert refused.line == 12, (payload, refused)  # noqa: PT017 - each payload has its own
            continue
        taken.append(payload)
        template = next(t for t in wording.templates if t.id == "mine")
        words = dict.fromkeys(REQUIRED, "w")
        subject = Subject(
            tenant="t", display_name="t", confidence="probable", services=("mail",), regions=(),
            data_classes=(),
        )  # fmt: skip
        content = render(
            compose(REQUIRED, template, wording, Known(number="N"), words, "a"), subject, wording,
            number="N", notification_id=UUID(int=1), operator_name="o", at=AT,
        )  # fmt: skip
        assert not any(secret in content.text for secret in SECRETS), (payload, content.text)
    assert ran == []
    # What is taken has no Jinja in it: other engines' syntax, and raw text.
    assert all("{{" not in p or "{%raw%}" in p for p in taken), taken
    assert len(taken) < 15
