"""Edits between two submits: what each does to a job and its input, and what it must cost."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import polars as pl

from tests.runs import JobFolder

ROWS = 8
"""Rows of every job here."""

Rows: TypeAlias = list[dict[str, Any]]
Document: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Place:
    """A job's folder while it is being edited; `env` are its variables."""

    job: JobFolder
    env: dict[str, str]

    @property
    def document(self) -> Document:
        found: Document = json.loads(self.job.job.read_text())
        return found

    def rows(self) -> Rows:
        return [json.loads(line) for line in self.job.rows.read_text().splitlines()]

    def write(self, name: str, text: str) -> None:
        (self.job.folder / name).write_text(text, encoding="utf-8")


Change: TypeAlias = Callable[[Place], None]


def nothing(_place: Place) -> None:
    """No edit."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit, and what is due.

    Attributes:
        changed: finished rows that would be paid for again: above 0 a plain submit ends with 6 and says so.
        new: rows that have no answer after the edit, and are asked for by every way on.
        rows: rows afterwards.
        setup: makes the job what it is before.
        keeps: whether --keep-changed is a way on; without one it stops as a plain submit does.
    """

    name: str
    change: Change
    changed: int = 0
    new: int = 0
    rows: int = ROWS
    setup: Change = nothing
    keeps: bool = True


def rows(change: Callable[[Rows], Rows]) -> Change:
    """The input as JSONL, changed."""

    def applied(place: Place) -> None:
        lines = (json.dumps(row) + "\n" for row in change(place.rows()))
        place.job.rows.write_text("".join(lines), encoding="utf-8")

    return applied


def put(key: str, value: Any) -> Change:
    """One value of the job file, by its dotted key; None removes it."""

    def applied(place: Place) -> None:
        document = place.document
        *path, last = key.split(".")
        section = document
        for name in path:
            section = section.setdefault(name, {})
        if value is None:
            section.pop(last, None)
        else:
            section[last] = value
        place.write("job.yaml", json.dumps(document))

    return applied


def file(name: str, text: str) -> Change:
    return lambda place: place.write(name, text)


def both(*changes: Change) -> Change:
    def applied(place: Place) -> None:
        for change in changes:
            change(place)

    return applied


def variable(value: str) -> Change:
    return lambda place: place.env.update(TONE=value)


NO_IDS = put("input.id", None)


def new_row(number: int) -> dict[str, Any]:
    return {"id": f"x{number}", "text": f"row {number:06d}: please answer", "n": number, "note": "-"}


def cell(column: str, value: Any, at: int = 3) -> Change:
    """One cell."""
    return rows(lambda found: [{**row, column: value} if i == at else row for i, row in enumerate(found)])


def as_csv(place: Place) -> None:
    found = place.rows()
    with (place.job.folder / "rows.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    put("input.path", "rows.csv")(place)


def as_parquet(place: Place) -> None:
    pl.DataFrame(place.rows()).write_parquet(place.job.folder / "rows.parquet")
    put("input.path", "rows.parquet")(place)


def as_gzip(place: Place) -> None:
    (place.job.folder / "rows.jsonl.gz").write_bytes(gzip.compress(place.job.rows.read_bytes()))
    put("input.path", "rows.jsonl.gz")(place)


def in_two(place: Place) -> None:
    lines = place.job.rows.read_text().splitlines(keepends=True)
    place.write("half-0.jsonl", "".join(lines[:3]))
    place.write("half-1.jsonl", "".join(lines[3:]))
    put("input.path", "half-*.jsonl")(place)


def renamed(place: Place) -> None:
    place.job.rows.rename(place.job.folder / "others.jsonl")
    put("input.path", "others.jsonl")(place)


def endpoint_renamed(place: Place) -> None:
    document = place.document
    document["endpoints"] = {"here": document["endpoints"]["local"]}
    place.write("job.yaml", json.dumps({**document, "model": "here/small"}))


def another_port(place: Place) -> None:
    """The same server by another name: a base URL says where, not what."""
    url = place.document["endpoints"]["local"]["base_url"]
    put("endpoints.local.base_url", url.replace("127.0.0.1", "localhost"))(place)


def _picture(shade: int) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(bytes([0, shade]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def with_pictures(place: Place) -> None:
    """Every row shows a picture of its own."""
    folder = place.job.folder / "media"
    folder.mkdir()
    for number in range(ROWS):
        (folder / f"{number}.png").write_bytes(_picture(number))
    rows(lambda found: [{**row, "picture": f"{row['n']}.png"} for row in found])(place)
    parts = [
        {"type": "text", "text": "{{ text }}"},
        {"type": "image_url", "image_url": {"url": "{{ picture | data_url }}"}},
    ]
    put("prompt.messages", [{"role": "user", "content": parts}])(place)
    put("input.media_root", "media")(place)


def picture_painted(place: Place) -> None:
    (place.job.folder / "media" / "3.png").write_bytes(_picture(200))


def picture_moved(place: Place) -> None:
    folder = place.job.folder / "media"
    (folder / "3.png").rename(folder / "three.png")
    cell("picture", "three.png")(place)


LABEL = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["a", "b"]}},
    "required": ["label"],
    "additionalProperties": False,
}
LABELS = {**LABEL, "properties": {"label": {"type": "string", "enum": ["a", "b", "c"]}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
TWICE: Change = rows(lambda found: [*found, found[3], found[3]])
TURNS = put("prompt.turns", [{"content": "And why?"}])

INPUT = (
    Edit("rows added at the end", rows(lambda r: [*r, new_row(90), new_row(91)]), new=2, rows=ROWS + 2),
    Edit("rows added at the beginning", rows(lambda r: [new_row(90), *r]), new=1, rows=ROWS + 1),
    Edit("rows added in the middle", rows(lambda r: [*r[:4], new_row(90), *r[4:]]), new=1, rows=ROWS + 1),
    Edit(
        "the same, without ids",
        rows(lambda r: [*r[:4], new_row(90), *r[4:]]),
        new=1,
        rows=ROWS + 1,
        setup=NO_IDS,
    ),
    Edit("rows removed", rows(lambda r: r[::2]), rows=ROWS // 2),
    Edit("rows removed, without ids", rows(lambda r: r[::2]), rows=ROWS // 2, setup=NO_IDS),
    Edit("rows sorted", rows(lambda r: r[::-1])),
    Edit("rows sorted, without ids", rows(lambda r: r[::-1]), setup=NO_IDS),
    Edit("a cell that the prompt uses", cell("text", "row 000003: edited"), changed=1),
    Edit("the same, without ids", cell("text", "row 000003: edited"), new=1, setup=NO_IDS),
    Edit("a cell that the prompt does not use", cell("note", "edited")),
    Edit("the same, without ids", cell("note", "edited"), setup=NO_IDS),
    Edit("a column added", rows(lambda r: [{**row, "more": 1} for row in r])),
    Edit("a column added, without ids", rows(lambda r: [{**row, "more": 1} for row in r]), setup=NO_IDS),
    Edit("an id changed", cell("id", "other")),
    Edit("ids given to rows that had none", put("input.id", "id"), setup=NO_IDS),
    Edit("ids taken away", NO_IDS),
    Edit("ids from another column", put("input.id", "n")),
    Edit("equal rows removed, without ids", rows(lambda r: r[:-2]), setup=both(NO_IDS, TWICE)),
    Edit("equal rows added, without ids", TWICE, new=2, rows=ROWS + 2, setup=NO_IDS),
    Edit("the file renamed", renamed),
    Edit("the file split in two", in_two),
    Edit("JSONL to CSV", as_csv),
    Edit("JSONL to CSV, without ids", as_csv, setup=NO_IDS),
    Edit("JSONL to Parquet", as_parquet),
    Edit("JSONL to gzip", as_gzip),
    Edit("where", put("input.where", "n < 3"), rows=3),
    Edit("limit", put("input.limit", 5), rows=5),
    Edit("a larger limit", put("input.limit", 6), new=1, rows=6, setup=put("input.limit", 5)),
    Edit("a sample", put("input.sample", {"rows": 4, "seed": 1}), rows=4),
)

JOB = (
    Edit("the prompt", put("prompt.messages", [{"role": "user", "content": "{{ text }}!"}]), changed=ROWS),
    Edit(
        "the prompt, without ids",
        put("prompt.messages", [{"role": "user", "content": "{{ text }}!"}]),
        changed=ROWS,
        setup=NO_IDS,
    ),
    Edit("a var", put("prompt.vars", {"tone": "warm"}), changed=ROWS),
    Edit("a var that nothing uses", put("prompt.vars", {"tone": "formal", "more": 1})),
    Edit("an included file", file("rules.md", "Be long."), changed=ROWS),
    Edit("a file of messages", file("shots.yaml", "- {role: user, content: hello}\n"), changed=ROWS),
    Edit("turns added", TURNS, changed=ROWS),
    Edit("turns edited", put("prompt.turns", [{"content": "And how?"}]), changed=ROWS, setup=TURNS),
    Edit("a schema added", put("schema", LABEL), changed=ROWS),
    Edit("a schema edited", put("schema", LABELS), changed=ROWS, setup=put("schema", LABEL)),
    Edit("a schema removed", put("schema", None), changed=ROWS, setup=put("schema", LABEL)),
    Edit("the model", put("model", "local/large"), changed=ROWS),
    Edit("the endpoint's name", endpoint_renamed, changed=ROWS),
    Edit("a fallback added", put("fallbacks", ["local/large"])),
    Edit("a parameter", put("request.temperature", 0.5), changed=ROWS),
    Edit("a parameter added, equal to its default", put("request.n", 1), changed=ROWS),
    Edit("stream", put("request.stream", True)),
    Edit("store and metadata", both(put("request.store", True), put("request.metadata", {"team": "a"}))),
    Edit("tools", put("request.tools", [TOOL]), changed=ROWS),
    Edit("a variable", variable("kind"), changed=ROWS),
    Edit("a picture painted over", picture_painted, changed=1, setup=with_pictures),
    Edit("a picture moved", picture_moved, changed=1, setup=with_pictures),
    Edit("output", put("output", {"columns": ["n"], "messages": True, "raw": True})),
    Edit("the budget", put("budget", {"requests": 1000})),
    Edit(
        "limits and retries",
        both(put("endpoints.local.limits", {"concurrency": 2}), put("retry", {"max_attempts": 2})),
    ),
    Edit("the base URL", another_port),
    Edit("dedupe", put("dedupe", True)),
    Edit("the order", put("order", "prefix")),
    Edit("checks of failed answers", put("fail_on", [])),
    Edit(
        "a prompt and a row at once",
        both(put("prompt.vars", {"tone": "warm"}), rows(lambda r: [*r[1:], new_row(90)])),
        changed=ROWS - 1,
        new=1,
    ),
    Edit(
        "a prompt and an added column at once, without ids",
        both(put("prompt.vars", {"tone": "warm"}), rows(lambda r: [{**row, "more": 1} for row in r])),
        changed=ROWS,
        setup=NO_IDS,
        keeps=False,
    ),
    Edit(
        "a prompt edited and ids given at once",
        both(put("prompt.vars", {"tone": "warm"}), put("input.id", "id")),
        changed=ROWS,
        setup=NO_IDS,
        keeps=False,
    ),
    Edit(
        "a prompt and all rows at once, without ids",
        both(put("prompt.vars", {"tone": "warm"}), rows(lambda r: [new_row(90 + n) for n in range(ROWS)])),
        changed=ROWS,
        setup=NO_IDS,
        keeps=False,
    ),
    Edit(
        "all rows replaced, without ids",
        rows(lambda r: [new_row(90 + n) for n in range(ROWS)]),
        new=ROWS,
        setup=NO_IDS,
    ),
    Edit(
        "a prompt edited, with equal rows asked once",
        put("prompt.vars", {"tone": "warm"}),
        changed=ROWS + 2,
        rows=ROWS + 2,
        setup=both(NO_IDS, put("dedupe", True), TWICE),
    ),
)

EDITS = INPUT + JOB
