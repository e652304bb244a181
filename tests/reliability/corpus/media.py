"""What rows may name as images and files, and must not be given."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.reliability.corpus.case import Case, Content

_PROMPT = {"messages": [{"role": "user", "content": "x{{ p | data_url }}"}]}
_PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(20)


def _link(target: str) -> Content:
    return lambda path: path.symlink_to(target)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


FILES: Mapping[str, Content] = {
    "secret.txt": b"secret",
    "media/a.png": _PIXEL,
    "media/empty.png": b"",
    "media/folder/b.png": _PIXEL,
    "media/out": _link("../secret.txt"),
    "media/up": _link(".."),
    "media/root": _link("/"),
    "media/zero": _link("/dev/zero"),
    "media/loop": _link("loop"),
    "media/gone": _link("nothing"),
    "media/in": _link("a.png"),
    "media/pipe": os.mkfifo,
    "media/huge.png": _huge,
    "media-beside/c.png": _PIXEL,
}
REFUSED: tuple[Any, ...] = (
    *(
        "../secret.txt",
        "folder/../../secret.txt",
        "/etc/passwd",
        "out",
        "up/secret.txt",
        "root/etc/passwd",
        "zero",
    ),
    *(
        "loop",
        "gone",
        "pipe",
        "folder",
        ".",
        "..",
        "",
        "nothing.png",
        "empty.png",
        "huge.png",
        "/dev/zero",
        "a.png/x",
    ),
    *(
        "file:///etc/passwd",
        "ftp://x/y",
        "gopher://x",
        "s3://bucket/key",
        "\x00",
        "a.png\x00.txt",
        "a" * 5_000,
    ),
    *(
        "../media-beside/c.png",
        "~/x",
        "${HOME}/x",
        "a.png/../../secret.txt",
        "\ud800",
        "./../media/../secret.txt",
    ),
    *(1, True, 1.5, [], ["a.png"], {"path": "../secret.txt"}, {"bytes": None, "path": "out"}, {"x": 1}, None),
)
TAKEN = (
    "a.png",
    "./a.png",
    "folder/b.png",
    "folder/../a.png",
    "in",
    "http://169.254.169.254/latest",
    "data:,x",
)
"""A web address is passed on as it is, and never fetched here."""


def cases() -> Iterator[Case]:
    """Each path in a row of its own, after a good one."""
    job: dict[str, Any] = {
        "input": {"path": "rows.jsonl", "media_root": "media"},
        "prompt": _PROMPT,
        "request": {},
    }
    for value in REFUSED:
        yield Case("media", ascii(value)[:60], _files("a.png", value), job, failed={1: r"p: |:"})
    for value in TAKEN:
        yield Case("media", ascii(value)[:60], _files("a.png", value), job)
    for root in ("nothing", "secret.txt", "media/loop", "media/pipe"):
        refused = job | {"input": {"path": "rows.jsonl", "media_root": root}}
        yield Case("media", f"the root {root}", _files("a.png"), refused, refused=r"input\.media_root: ")
    without = job | {"input": {"path": "rows.jsonl"}}
    yield Case("media", "no root", _files("a.png"), without, refused="set input.media_root")


def _files(*values: Any) -> dict[str, Content]:
    rows = "".join(json.dumps({"p": value}) + "\n" for value in values)
    return {**FILES, "rows.jsonl": rows.encode()}
