"""Templates that do not end, reach out of their folder, or are none."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.reliability.corpus.case import Case, Content

FILES: dict[str, Content] = {
    "rows.jsonl": b'{"value":1}\n',
    "good.md": b"{{ value }}",
    "self.md": b"{% include 'self.md' %}",
    "one.md": b"{% include 'two.md' %}",
    "two.md": b"{% include 'one.md' %}",
    "latin.md": b"\xe9",
    "large.md": b"x" * 5_000_000,
    "out.md": lambda path: path.symlink_to("/etc/passwd"),
    "loop.md": lambda path: path.symlink_to("loop.md"),
    "zero.md": lambda path: path.symlink_to("/dev/zero"),
    "pipe.md": os.mkfifo,
    "folder/x.md": b"x",
}
REFUSED = (
    *(
        "{{",
        "{{ value",
        "{% if value %}",
        "{% endif %}",
        "{% nothing %}",
        "{{ value | nothing }}",
        "{{ 1 + }}",
        "{{ }}",
    ),
    *(
        "{{ missing }}",
        "{{ missing.x }}",
        "{{ value.__class__.__mro__ }}",
        "{{ value() }}",
        "{{ nothing(1) }}",
    ),
    *(
        "{{ self.x }}",
        "{{ 1 / 0 }}",
        "{% for i in value %}x{% endfor %}",
        "{{ value['x'].y }}",
        "{{ [][1].x }}",
    ),
    "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
    "{% for a in range(10000000000) %}x{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    *(
        f"{{% include '{name}.md' %}}"
        for name in ("self", "one", "latin", "large", "out", "loop", "zero", "pipe")
    ),
    *(
        f"{{% include '{name}' %}}"
        for name in ("nothing.md", "../x", "/etc/passwd", "folder", "", "x\x00", "folder/../../x")
    ),
    *("{% include '/etc/' ~ 'passwd' %}", "{% extends 'nothing.md' %}", "{% import 'nothing.md' as x %}"),
    *(
        "{{ value | base64 }}",
        "{{ '/etc/passwd' | data_url }}",
        "{{ '../x' | base64 }}",
        "{{ [1] | base64 }}",
    ),
    *("{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}", "{{ " + "[" * 5_000 + "]" * 5_000 + " }}"),
    *("{% if true %}" * 2_000, "{{ " + "not " * 20_000 + "1 }}", "{{ " + "-" * 20_000 + "1 }}"),
)
TAKEN = (
    "{% include 'good.md' %}",
    "{{ value }}",
    "{{ '{{ value }}' }}",
    "{# {{ missing }} #}x",
    "{% raw %}{{{% endraw %}",
    "$",
)


def cases() -> Iterator[Case]:
    """Each template as the only message."""
    for text in REFUSED:
        yield Case(
            "templates", ascii(text)[1:61], FILES, _prompt(text), refused=r"prompt\.messages|cannot include"
        )
    for text in TAKEN:
        yield Case("templates", ascii(text)[1:61], FILES, _prompt(text))


def _prompt(text: str) -> dict[str, object]:
    return {"prompt": {"messages": [{"role": "user", "content": text}]}, "request": {}}
