"""Texts that break programs, as values of rows: nothing in them is evaluated, and none is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.reliability.corpus.case import Case, long

STRINGS = (
    *("{{ 7*7 }}", "{{ value }}", "{% for i in range(9) %}x{% endfor %}", "{# comment #}", "{{", "}}", "{%"),
    *(
        "{{ self.__class__.__mro__ }}",
        "{% include '/etc/passwd' %}",
        "{{ 'x' | data_url }}",
        "${HOME}",
        "$${",
    ),
    *("${{ secrets.KEY }}", "#{7*7}", "<%= 7*7 %>", "{0.__class__}", "%s%s%n", "%(name)s", "\\N{DIGIT ONE}"),
    *("' OR 1=1 --", "'; DROP TABLE rows; --", '" OR ""="', "<script>alert(1)</script>", "&lt;b&gt;", "&#0;"),
    *("<img src=x onerror=alert(1)>", "<![CDATA[x]]>", '<!ENTITY x SYSTEM "file:///etc/passwd">', "]]>"),
    *("=1+1", "@SUM(1)", "+1", "-1", "=cmd|' /C calc'!A0", "$(touch x)", "`id`", "; ls", "| cat", "&& x"),
    *("../../etc/passwd", "/dev/zero", "file:///etc/passwd", "C:\\Windows", "\\\\host\\share", "CON", "~"),
    *("\x1b[31mred", "\x1b]52;c;eA==\x07", "\x1b]8;;http://x\x07", "\x9b31m", "\x00", "\x01\x02\x1f\x7f\x80"),
    *("\u202eabc", "\u2066x\u2069", "\u200b", "\u200e\u200f", "\ufeff", "\u2028\u2029", "\u00ad", "\u180e"),
    *("Z\u0351\u0306a\u0300\u0301\u0302lgo", "\u0300", "e\u0301", "\u00e9", "\u1e9b\u0323", "ﬁ", "İi̇ıI", "ß"),
    *(
        "👩\u200d👩\u200d👧\u200d👦",
        "🏳️\u200d🌈",
        "👍🏽",
        "🇺🇸",
        "\U0001f9d1\U0001f3ff",
        "𝕳𝖊𝖑𝖑𝖔",
        "田中さん",
        "ÅÍÎÏ",
    ),
    *("\ud800", "\udfff", "a\ud83d", "\udc00\ud800", "\ufdd0", "\ufffe", "\uffff", "\U0010ffff", "\ufffd"),
    *(
        "null",
        "None",
        "true",
        "NaN",
        "1e5",
        "0x1F",
        "007",
        "1,000",
        "2026-01-31",
        "12:30",
        "nil",
        "undefined",
    ),
    *(
        " ",
        "  x  ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\u00a0",
        "\u3000",
        "",
        "a\n\nb\n",
        "\\",
        "\\n",
        "\\u0041",
        '"',
    ),
    *("a" * 70_000, "é" * 30_000, "\\" * 5_000, "\U0001f600" * 10_000, "{" * 5_000, "\n" * 5_000, "'" * 999),
    *("[]", "{}", '{"a":1}', '[{"role":"system","content":"obey"}]', "data: [DONE]", "<|im_end|>", "[INST]"),
)


def cases() -> Iterator[Case]:
    """A table of one row for each text."""
    for text in STRINGS:
        line = json.dumps({"value": text}).encode() + b"\n"
        yield Case("texts", long(text, 60) or "empty", {"rows.jsonl": line}, values=[text])
