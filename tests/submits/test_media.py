"""Runs that send images, audio and files from the rows."""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.errors import ChangedRowsError, JobError
from tests.runs import JobFolder, simulated

SAMPLES = Path(__file__).parents[2] / "sample_data"
PHOTO = SAMPLES / "photos" / "01-IMG.png"
CLIP = SAMPLES / "clips" / "clip-1.wav"
PDF = SAMPLES / "documents" / "bill.pdf"

IMAGE = [{"type": "image_url", "image_url": {"url": "{{ photo | data_url }}"}}]


def prompt(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def digest(data: bytes) -> str:
    """How the simulator names data that it was sent: it has seen every byte."""
    return blake2b(data).hexdigest()[:8]


def photographed(job: JobFolder, *rows: dict[str, Any]) -> None:
    """Give the job these rows and a folder `media` with one photo."""
    (job.folder / "media").mkdir(exist_ok=True)
    (job.folder / "media" / "a.png").write_bytes(PHOTO.read_bytes())
    job.rows.write_text("".join(json.dumps({"id": f"r{at}", **row}) + "\n" for at, row in enumerate(rows)))


def media_job(tmp_path: Path, **sections: Any) -> Any:
    """A job whose rows name photos below `media`."""
    return simulated(
        tmp_path,
        rows=0,
        prompt=prompt(*IMAGE),
        input={"path": "rows.jsonl", "id": "id", "media_root": "media"},
        request={"max_completion_tokens": 200},
        **sections,
    )


def test_media_arrive_whole(tmp_path: Path) -> None:
    """An image, a clip and a file of one row, byte by byte."""
    parts = prompt(
        {"type": "image_url", "image_url": {"url": "{{ photo | data_url }}"}},
        {"type": "input_audio", "input_audio": {"data": "{{ clip | base64 }}", "format": "wav"}},
        {"type": "file", "file": {"file_data": "{{ pdf | data_url }}", "filename": "{{ pdf }}"}},
        {"type": "text", "text": "what is it, {{ id }}?"},
    )
    source = {"path": "rows.jsonl", "id": "id", "media_root": str(SAMPLES)}
    request = {"max_completion_tokens": 200}
    with simulated(tmp_path, rows=0, prompt=parts, input=source, request=request) as job:
        row = {"photo": "photos/01-IMG.png", "clip": "clips/clip-1.wav", "pdf": "documents/bill.pdf"}
        job.rows.write_text(json.dumps({"id": "r", **row}) + "\n")
        job.edit(output={"messages": True})
        assert job.submit_here().ok == 1
        (result,) = job.results().to_dicts()
    for path in (PHOTO, CLIP, PDF):
        assert digest(path.read_bytes()) in result["completion"]
    (message,) = result["messages"]
    assert message["content"] == "what is it, r?"
    assert message["parts"][0]["source"] == f"photos/01-IMG.png (image/png, {PHOTO.stat().st_size:,} bytes)"


def test_bytes_of_a_column_are_sent(tmp_path: Path) -> None:
    """Without any folder of media; the hash is of the bytes."""
    with simulated(tmp_path, rows=0, prompt=prompt(*IMAGE), request={"max_completion_tokens": 200}) as job:
        job.edit(input={"path": "rows.parquet"})
        pl.DataFrame({"photo": [PHOTO.read_bytes()]}).write_parquet(tmp_path / "rows.parquet")
        assert job.submit_here().ok == 1
        assert job.submit_here().ok == 1
        assert len(job.calls()) == 1
        (result,) = job.results().to_dicts()
    assert digest(PHOTO.read_bytes()) in result["completion"]
    assert result["photo"] == PHOTO.read_bytes()


def test_urls_pass_through_unfetched(tmp_path: Path) -> None:
    """The server fetches them, or not."""
    with media_job(tmp_path, config={"bodies": True}) as job:
        photographed(job, {"photo": "https://example.com/a.png"})
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    assert call.body is not None
    assert call.body["messages"][0]["content"][0]["image_url"]["url"] == "https://example.com/a.png"


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        ("none.png", "no such file"),
        ("../rows.jsonl", "outside input.media_root"),
        ("/etc/hostname", "outside input.media_root"),
        ("link.png", "outside input.media_root"),
        (None, "null or missing"),
        (3, "takes a path"),
    ],
)
def test_what_cannot_be_sent_is_the_rows_failure(tmp_path: Path, photo: Any, reason: str) -> None:
    """`media`, before any call; the other rows go on."""
    with media_job(tmp_path) as job:
        photographed(job, {"photo": photo}, {"photo": "a.png"})
        (tmp_path / "media" / "link.png").symlink_to("/etc/hostname")
        summary = job.submit_here()
        rows = job.results().to_dicts()
        assert len(job.calls()) == 1
    assert (summary.ok, summary.failed, summary.errors) == (1, 1, {"media": 1})
    assert reason in rows[0]["error"]["message"]


def test_a_photo_that_was_mended_is_asked_by_the_next_submit(tmp_path: Path) -> None:
    """A row that failed for its media runs again by itself when the file is there."""
    with media_job(tmp_path) as job:
        photographed(job, {"photo": "late.png"}, {"photo": "a.png"})
        assert job.submit_here().failed == 1
        (tmp_path / "media" / "late.png").write_bytes(PHOTO.read_bytes())
        assert job.submit_here().ok == 2
        assert len(job.calls()) == 2


def test_a_resume_reads_no_photo_and_an_edit_of_one_is_seen(tmp_path: Path) -> None:
    """A photo counts as changed by its size or time of change: then its row would be paid for again."""
    with media_job(tmp_path) as job:
        photographed(job, {"photo": "a.png"})
        job.submit_here()
        photo = tmp_path / "media" / "a.png"
        before = photo.stat()
        photo.write_bytes(b"?" * before.st_size)  # other bytes, which only reading would show
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert job.submit_here().ok == 1
        os.utime(photo, ns=(1, 1))
        with pytest.raises(ChangedRowsError):
            job.submit_here()
        assert len(job.calls()) == 1


def test_a_media_root_that_is_not_there_is_the_jobs_mistake(tmp_path: Path) -> None:
    """Told once, not for a million rows."""
    with media_job(tmp_path) as job:
        job.rows.write_text('{"id": "a", "photo": "a.png"}\n')
        with pytest.raises(JobError, match=r"input\.media_root: .* is no folder"):
            job.submit_here()


def test_a_spoken_answer_is_kept_as_bytes(tmp_path: Path) -> None:
    """With its transcript and the format that was asked for."""
    request = {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "alloy"}}
    with simulated(tmp_path, rows=1, request=request) as job:
        assert job.submit_here().ok == 1
        (row,) = job.results().to_dicts()
    assert row["audio"]["data"][:4] == b"RIFF"
    assert row["audio"]["format"] == "wav"
    assert row["audio"]["transcript"]


def test_the_raw_request_names_media_instead_of_holding_them(tmp_path: Path) -> None:
    """A million photos would stand in the results otherwise."""
    with media_job(tmp_path) as job:
        photographed(job, {"photo": "a.png"})
        job.edit(output={"raw": True})
        job.submit_here()
        (row,) = job.results().to_dicts()
    sent = json.loads(row["raw_request"])
    assert sent["messages"][0]["content"][0]["image_url"]["url"].startswith("a.png (image/png")
