"""What people write is never run: a corpus of template injections, as words and as templates.

A canary stands for code: a builtin that a payload would have to reach. None does.
"""

import builtins
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from jinja2 import TemplateError

from services.notify.correction_text import render_correction
from services.notify.message import REQUIRED, Subject, environment, render
from services.notify.told import Told

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
    for payload in PAYLOADS:
        subject = Subject(
            tenant="t",
            display_name=payload,
            confidence="probable",
            services=(payload,),
            regions=(payload,),
            data_classes=(payload,),
        )
        content = render(
            dict.fromkeys(REQUIRED, payload),
            subject,
            number=payload,
            notification_id=UUID(int=1),
            operator_name=payload,
            at=AT,
        )
        assert content.text.count(payload) >= len(REQUIRED) + 4
        assert json.loads(content.body)["data"]["description"] == payload
        told = Told(
            id=UUID(int=2), list_id=UUID(int=3), tenant=payload, channel="email",
            recipients={}, why=None, created_at=AT,
        )  # fmt: skip
        corrected = render_correction(
            told, why="content", statement=payload, number=payload, notification_id=UUID(int=4),
            operator_name=payload, at=AT,
        )  # fmt: skip
        assert payload in corrected.text
    assert ran == []


def test_a_template_of_somebody_elses_reaches_nothing(ran: list[str]) -> None:
    values: dict[str, Any] = {"services": ["mail"], "tenant_name": "t", "number": "N"}
    for payload in PAYLOADS:
        try:
            text = environment().from_string(payload).render(**values)
        except (TemplateError, TypeError, ValueError, OverflowError):
            continue
        assert not any(secret in text for secret in SECRETS), (payload, text)
    assert ran == []
    assert values["services"] == ["mail"]
