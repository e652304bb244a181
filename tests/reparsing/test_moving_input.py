"""A reparse whose input changes while it is read: no answer is recorded for another question."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import InputError
from batchrun.job import load_job
from batchrun.reparsing import Reparsed, preview, reparse
from tests.reparsing.test_reparse import LABELS, schema
from tests.runs import JobFolder, Silent, row_of
from tests.scripted import answering, completion

Act = Callable[..., Reparsed]


class Editing(Silent):
    """Edits a file when the input has been read as it was asked, and is about to be read as it is now."""

    def __init__(self, edit: Callable[[], object]) -> None:
        super().__init__()
        self._edit: Callable[[], object] | None = edit

    def phase(self, text: str) -> None:
        if self._edit and text.startswith("reading") and not text.endswith("as it was asked"):
            self._edit()
            self._edit = None


@contextmanager
def echoing(folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Iterator[JobFolder]:
    """A job that was answered, each row with a score that is its own; its schema is edited then."""
    job = JobFolder(folder)
    write(job, rows)

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        content = body["messages"][0]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        return 200, completion(json.dumps({"label": "bug", "score": row_of(text)}))

    with answering(act) as (base_url, _seen):
        job.write(base_url, schema=schema(), **sections)
        job.submit_here()
        job.edit(schema=schema([*LABELS, "new"]))
        yield job


def write(job: JobFolder, rows: list[dict[str, Any]]) -> None:
    job.rows.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def meanwhile(job: JobFolder, act: Act, edit: Callable[[], object]) -> None:
    env = dict(os.environ)
    act(load_job(job.job, env=env, cwd=job.folder), env=env, progress=Editing(edit))


ROWS = [{"id": f"r{n}", "text": f"row {n}: please answer"} for n in range(3)]


@pytest.mark.parametrize("act", [preview, reparse])
@pytest.mark.parametrize("input", [{"path": "rows.jsonl", "id": "id"}, {"path": "rows.jsonl"}])
def test_rows_that_change_places_do_not_change_answers(
    tmp_path: Path, act: Act, input: dict[str, Any]
) -> None:
    """The row is named, and the next reparse gives each row its own answer."""
    swapped = [ROWS[0], {**ROWS[1], "text": ROWS[2]["text"]}, {**ROWS[2], "text": ROWS[1]["text"]}]
    with echoing(tmp_path, ROWS, input=input) as job:
        with pytest.raises(InputError, match=r"rows\.jsonl:2: .* changed while"):
            meanwhile(job, act, lambda: write(job, swapped))
        write(job, ROWS)
        meanwhile(job, reparse, lambda: None)
        assert job.results()["parsed"].struct.field("score").to_list() == [0, 1, 2]
        write(job, swapped)
        job.submit_here(rerun_changed=True)
        assert job.results()["parsed"].struct.field("score").to_list() == [0, 2, 1]


@pytest.mark.parametrize("act", [preview, reparse])
def test_an_image_that_changes_takes_no_answer_along(tmp_path: Path, act: Act) -> None:
    """It is another question then."""
    image = tmp_path / "a.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n one")
    content = [
        {"type": "text", "text": "{{ text }}"},
        {"type": "image_url", "image_url": {"url": "{{ 'a.png' | data_url }}"}},
    ]
    prompt = {"messages": [{"role": "user", "content": content}]}
    with echoing(tmp_path, ROWS[:1], prompt=prompt, input={"path": "rows.jsonl", "media_root": "."}) as job:
        assert job.results()["status"].to_list() == ["ok"]
        with pytest.raises(InputError, match=r"rows\.jsonl:1: .* changed while"):
            meanwhile(job, act, lambda: image.write_bytes(b"\x89PNG\r\n\x1a\n another"))


@pytest.mark.parametrize("act", [preview, reparse])
def test_an_included_file_that_changes_takes_no_answer_along(tmp_path: Path, act: Act) -> None:
    """It is another prompt then."""
    rules = tmp_path / "rules.md"
    rules.write_text("Be brief.")
    prompt = {"messages": [{"role": "user", "content": "{{ text }} {% include 'rules.md' %}"}]}
    with (
        echoing(tmp_path, ROWS, prompt=prompt) as job,
        pytest.raises(InputError, match=r"rules\.md changed while"),
    ):
        meanwhile(job, act, lambda: rules.write_text("Be long."))
