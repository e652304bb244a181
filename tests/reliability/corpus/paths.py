"""What an input path may lead to: odd names, and things that are no tables."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.reliability.corpus.case import Case, Content

ROWS = b'{"value":1}\n'
NAMES = (
    *("a b.jsonl", "a\nb.jsonl", "-rf.jsonl", "--help.jsonl", "ü.jsonl", "u\u0308.jsonl", "\u202egpj.jsonl"),
    *(
        "✓.jsonl",
        "a[1].jsonl",
        "a*.jsonl",
        "a?.jsonl",
        "{a}.jsonl",
        "$HOME.jsonl",
        "a'b\".jsonl",
        "a;b.jsonl",
    ),
    *("%41.jsonl", "a#b.jsonl", "a\\b.jsonl", "A.JSONL", "a.b.c.jsonl", ".hidden.jsonl", "_under.jsonl"),
    *("x" * 240 + ".jsonl", "a:b.jsonl", "a=b.jsonl", "\x1b[31m.jsonl", "a.ndjson", " .jsonl", "{{x}}.jsonl"),
)
LINKS: dict[str, Content] = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/dev/null": lambda path: path.symlink_to("/dev/null"),
    "/dev/stdin": lambda path: path.symlink_to("/dev/tty"),
    "a link to the folder": lambda path: path.symlink_to("."),
}
REFUSED = (
    *(
        "nothing.jsonl",
        "",
        "/",
        "/dev/zero",
        "/dev/null",
        "/proc/self/mem",
        "rows",
        "x/*.jsonl",
        "**/nothing",
    ),
    *(
        "http://127.0.0.1:9/x.jsonl",
        "s3:///x.jsonl",
        "file:///etc/passwd",
        "\x00",
        "a\x00.jsonl",
        "x" * 5_000,
    ),
    *(
        "/etc/passwd",
        "rows.txt",
        "rows.xlsx",
        "rows.json",
        "rows.jsonl.bz2",
        "rows.parquet.gz",
        "~nobody/x.jsonl",
    ),
)


def cases() -> Iterator[Case]:
    """Every path of this module."""
    for name in NAMES:
        yield Case("paths", f"file {ascii(name)[:50]}", {name: ROWS}, name_of=name, values=[1])
    for name, link in LINKS.items():
        yield Case("paths", name, {"rows.jsonl": link}, refused=r"^input rows\.jsonl")
    given: dict[str, Content] = {name: ROWS for name in REFUSED[-7:-1] if "/" not in name}
    for path in REFUSED:
        yield Case("paths", f"path {ascii(path)[:50]}", given, name_of=path, refused=r"input|\.path")
    folder: dict[str, Content] = {
        "t/a.jsonl": ROWS,
        "t/pipe.jsonl": os.mkfifo,
        "t/_SUCCESS": b"",
        "t/.x.jsonl": b"x",
    }
    yield Case("paths", "a folder with a pipe", folder, name_of="t", values=[1])
    loop: dict[str, Content] = {"t/a.jsonl": ROWS, "t/again": lambda path: path.symlink_to(".")}
    yield Case("paths", "a folder that holds itself", loop, name_of="t", values=[1])
    yield Case(
        "paths",
        "formats mixed",
        {"t/a.jsonl": ROWS, "t/b.csv": b"value\n1\n"},
        name_of="t",
        refused="mixes formats",
    )
    hive = {
        "t/k=1/a.jsonl": ROWS,
        "t/k=%2F..%2F/a.jsonl": ROWS,
        "t/k=__HIVE_DEFAULT_PARTITION__/a.jsonl": ROWS,
    }
    yield Case("paths", "Hive's keys", hive, name_of="t", values=[1, 1, 1])
