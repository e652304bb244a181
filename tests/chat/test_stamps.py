"""Requests whose answers are to be stored say whose they are, beside what the user says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchrun.cluster.driving
from batchrun.chat.stamps import BATCH, JOB, MOST_PAIRS, REQUEST, ROW, RUN, Stamp, request_digest, stamped
from batchrun.errors import JobError
from batchrun.job import load_job
from batchrun.run_folder.folder import RunFolder
from tests.cluster.inline import Cluster
from tests.commands import batchrun as command
from tests.runs import JobFolder, simulated
from tests.submits.test_openai_batch import batch, line

STAMP = Stamp("job", "run", "r1", "digest")
OURS = {JOB, RUN, ROW, REQUEST}
BODIES = {"bodies": True}
STORED = {"max_completion_tokens": 20, "store": True}
TURNS = {"messages": [{"role": "user", "content": "{{ text }}"}], "turns": [{"content": "And why?"}]}


def pairs(count: int) -> dict[str, str]:
    return {f"key {number}": "x" for number in range(count)}


def sent(job: JobFolder) -> list[dict[str, Any]]:
    """The `metadata` of every call, in the order of their arrival."""
    return [dict((call.body or {}).get("metadata") or {}) for call in job.calls()]


def test_every_call_of_a_stored_request_says_whose_it_is(tmp_path: Path) -> None:
    """The job, the run's own id, the row, and which ask of which model, beside the job's own pairs."""
    request = {**STORED, "metadata": {"team": "team {{ n }}"}}
    with simulated(tmp_path, rows=3, config=BODIES, request=request) as job:
        assert job.submit_here().ok == 3
        run = RunFolder(job.run).run_id
        hashes = dict(
            zip(*(job.results()[name].to_list() for name in ("row_id", "request_hash")), strict=True)
        )
        assert sorted(sent(job), key=str) == sorted(
            (
                {
                    "team": f"team {row}",
                    JOB: "job",
                    RUN: run,
                    ROW: f"r{row:06d}",
                    REQUEST: request_digest(hashes[f"r{row:06d}"], "", "local/small"),
                }
                for row in range(3)
            ),
            key=str,
        )


def test_each_ask_of_a_conversation_and_each_model_has_its_own_stamp(tmp_path: Path) -> None:
    """A second turn is another request, and so is the same one to a fallback; a repeated call is not."""
    faults = [{"model": "small", "status": 500}]
    retry = {"max_attempts": 2, "backoff": {"initial": 0.01}}
    with simulated(
        tmp_path,
        rows=1,
        config={**BODIES, "faults": faults},
        request=STORED,
        prompt=TURNS,
        fallbacks=["local/large"],
        retry=retry,
    ) as job:
        assert job.submit_here().ok == 1
        digests = [metadata[REQUEST] for metadata in sent(job)]
        assert [call.model for call in job.calls()] == ["small", "small", "large", "large"]
        assert digests[0] == digests[1]
        assert len(set(digests)) == 3


def test_only_what_is_stored_is_stamped(tmp_path: Path) -> None:
    """Metadata without `store: true` are sent as they are."""
    with simulated(tmp_path, rows=1, config=BODIES, request={"metadata": {"a": "b"}, "store": False}) as job:
        job.submit_here()
        assert sent(job) == [{"a": "b"}]


def test_a_row_decides_for_itself_whether_it_is_stored(tmp_path: Path) -> None:
    """By a column that a template reads, or by its own body, an extra member of that included."""
    request = {"max_completion_tokens": 20, "store": "{{ n == 1 }}"}
    with simulated(tmp_path, rows=2, config=BODIES, request=request) as job:
        job.submit_here()
        assert {metadata.get(ROW) for metadata in sent(job)} == {None, "r000001"}
        job.ledger.unlink()
    (tmp_path / "own").mkdir()
    with simulated(tmp_path / "own", rows=0, config=BODIES) as job:
        batch(job, line("a"), line("b", store=True), line("c", extra_body={"store": True}))
        assert job.submit_here().ok == 3
        assert sorted(metadata.get(ROW, "") for metadata in sent(job)) == ["", "b", "c"]


def test_stamps_are_no_part_of_a_request(tmp_path: Path) -> None:
    """Storing asks for nothing again, and neither does another run's name for what has its answer."""
    with simulated(tmp_path, rows=2, config=BODIES) as job:
        job.submit_here()
        hashes = job.results()["request_hash"]
        job.edit(request=STORED)
        assert job.submit_here().submit["calls"] == 0
        assert job.submit_here(name="other").submit["calls"] == 2
        other = job.folder / "runs" / "other"
        assert hashes.equals(JobFolder(job.folder).results()["request_hash"])
        assert RunFolder(other).run_id != RunFolder(job.run).run_id
        assert {metadata.get(RUN) for metadata in sent(job)} == {None, RunFolder(other).run_id}


def test_plan_and_export_show_requests_without_stamps(tmp_path: Path) -> None:
    """There is no run yet, or the requests are for another one."""
    with simulated(tmp_path, rows=1, request={**STORED, "metadata": {"a": "b"}}) as job:
        plan = command("plan", str(job.job), "--json")
        assert plan.code == 0, plan.err
        assert "batchrun_" not in plan.out
        job.submit_here()
        out = tmp_path / "requests.jsonl"
        export = command("export", str(job.run), "--format", "openai-batch", "--out", str(out))
        assert export.code == 0, export.err
        assert json.loads(out.read_text())["body"]["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        (pairs(13), "must have at most 12 pairs beside store: true, for batchrun adds 4"),
        ({RUN: "mine"}, f"{RUN} is set by batchrun on what is stored: use another key"),
        ({BATCH: "mine"}, f"{BATCH} is set by batchrun"),
    ],
)
def test_metadata_that_leave_no_room_are_refused_before_anything_is_sent(
    tmp_path: Path, metadata: dict[str, str], text: str
) -> None:
    """By plan and submit alike, with the line; without `store: true` they are the user's own business."""
    with simulated(tmp_path, rows=1, request={**STORED, "metadata": metadata}) as job:
        for verb in ("plan", "submit"):
            refused = command(verb, str(job.job))
            assert refused.code == 2
            assert f"request.metadata: {text}" in " ".join(refused.err.split())
        with pytest.raises(JobError, match=r"job\.yaml:\d+: request\.metadata: "):
            job.submit_here()
        assert not job.ledger.exists() or not job.calls()
        job.edit(request={"metadata": metadata})
        assert load_job(job.job, env={}, cwd=tmp_path).models[0].parameters["metadata"] == metadata
        own = {"model": "local/small", "request": {**STORED, "metadata": metadata}}
        job.edit(request={}, fallbacks=[own])
        with pytest.raises(JobError, match=r"fallbacks\.0\.request\.metadata: "):
            job.submit_here()


def test_a_row_whose_own_metadata_leave_no_room_fails_by_itself(tmp_path: Path) -> None:
    """Nothing is sent for it, and the others have their answers."""
    with simulated(tmp_path, rows=0, config=BODIES) as job:
        batch(
            job,
            line("full", store=True, metadata=pairs(13)),
            line("ours", store=True, metadata={ROW: "mine"}),
            line("odd", store=True, extra_body={"metadata": "text"}),
            line("most", store=True, metadata=pairs(12)),
            line("none", store=True, metadata=None),
            line("kept", metadata=pairs(16)),
        )
        summary = job.submit_here()
        assert (summary.ok, summary.failed, summary.submit["calls"]) == (3, 3, 3)
        rows = {row["row_id"]: row["error"] for row in job.results().to_dicts()}
        assert {rows[name]["type"] for name in ("full", "ours", "odd")} == {"render"}
        assert "request.metadata: must have at most 12 pairs" in rows["full"]["message"]
        assert f"{ROW} is set by batchrun" in rows["ours"]["message"]
        assert "must be a mapping" in rows["odd"]["message"]
        assert sorted(map(len, sent(job))) == [4, 16, 16]


def test_workers_stamp_with_the_run_of_their_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks: the run finds what is its own."""
    monkeypatch.setattr(batchrun.cluster.driving, "ray_links", Cluster().links_of)
    engine = {"kind": "ray", "workers": 2}
    with simulated(tmp_path, rows=20, config=BODIES, request=STORED, engine=engine) as job:
        assert job.submit_here().ok == 20
        assert {metadata[RUN] for metadata in sent(job)} == {RunFolder(job.run).run_id}
        assert len({metadata[REQUEST] for metadata in sent(job)}) == 20


def test_a_stamp_keeps_to_what_metadata_may_hold() -> None:
    """Long ids are cut, and a lone surrogate costs no row its request."""
    stamp = Stamp("job", "run", "\ud800" + "x" * 600, "digest")
    row = stamp.pairs()[ROW]
    assert row == "?" + "x" * 511
    assert all(len(key) <= 64 and len(text) <= 512 for key, text in stamp.pairs().items())


KEYS = st.text(max_size=9) | st.sampled_from([JOB, RUN, ROW, REQUEST, BATCH])
OWN = st.none() | st.dictionaries(KEYS, st.text(max_size=3), max_size=MOST_PAIRS)


@given(own=OWN, store=st.sampled_from([True, False, None]))
def test_stamping_never_passes_16_pairs_and_never_loses_the_users(
    own: dict[str, str] | None, store: bool | None
) -> None:
    """Either all of both are there, or the request is refused; and the body that was given stays as it is."""
    body: dict[str, Any] = {"model": "m", "store": store, "metadata": own}
    before = json.dumps(body)
    fits = not own or (len(own) <= 12 and not OURS & own.keys() and BATCH not in own)
    if store and not fits:
        with pytest.raises(ValueError, match="metadata: "):
            stamped(body, STAMP)
    else:
        found = stamped(body, STAMP)
        assert {**found, "metadata": own} == body
        metadata = found["metadata"]
        assert metadata == ({**(own or {}), **STAMP.pairs()} if store else own)
        assert metadata is None or len(metadata) <= MOST_PAIRS
    assert json.dumps(body) == before
