"""Rows through a provider's batches, from the table to the results; the simulator's ledger is the witness."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.errors import ChangedRowsError, JobError, UsageError
from tests.batches.batched import (
    BRIEF,
    COST,
    PRICES,
    base_url,
    batched,
    lines_of,
    provider_batches,
    provider_files,
)
from tests.commands import batchrun
from tests.runs import JobFolder, asked, simulated

SAME = ["row_index", "row_id", "status", "completion", "finish_reason", "usage", "model", "request_hash"]


def test_the_same_rows_come_through_realtime_and_batch_and_the_price_halves(tmp_path: Path) -> None:
    """Row by row the same answers; each row says by which batch it came, and costs half."""
    (tmp_path / "realtime").mkdir()
    (tmp_path / "batch").mkdir()
    with simulated(tmp_path / "realtime", rows=200, config={"cost": COST}, prices=PRICES) as job:
        assert job.submit_here().exit_code == 0
        realtime = job.results()
    with batched(tmp_path / "batch", rows=200, engine={"max_lines": 80}) as job:
        summary = job.submit_here()
        by_batch = job.results()
        known = {one["id"] for one in provider_batches(job)}
        assert sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer) == pytest.approx(
            summary.cost_usd
        )
    assert (summary.state, summary.exit_code, summary.ok) == ("finished", 0, 200)
    assert by_batch.select(SAME).equals(realtime.select(SAME))
    assert set(by_batch["batch_id"]) == known
    assert len(known) == 3
    assert realtime["batch_id"].is_null().all()
    assert by_batch["cost_usd"].sum() == pytest.approx(realtime["cost_usd"].sum() / 2)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """No record of a batch, and no file of requests at the provider."""
    with batched(tmp_path, rows=30) as job:
        assert job.submit_here().exit_code == 0
        assert not [path.name for path in job.checkpoint.iterdir() if path.name.startswith("batch-")]
        assert [one["purpose"] for one in provider_files(job)] == ["batch_output"]
        assert job.submit_here().submit["calls"] == 0


def test_a_submit_that_does_not_wait_is_picked_up_by_a_later_one(tmp_path: Path) -> None:
    """The first ends with 0 when the batches are created; the second finds them, and makes none."""
    with batched(tmp_path, rows=40, batches={"seconds": 1.5}, engine={"max_lines": 20}) as job:
        first = job.submit_here(wait=False)
        assert (first.state, first.exit_code, first.pending) == ("waiting", 0, 40)
        assert len(provider_batches(job)) == 2
        again = job.submit_here(wait=False)
        assert (again.state, again.exit_code) == ("waiting", 0)
        last = job.submit_here()
        assert (last.state, last.ok) == ("finished", 40)
        assert len(provider_batches(job)) == 2
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_a_submit_that_does_not_wait_says_that_there_was_no_room(tmp_path: Path) -> None:
    """In the provider's words, also to whoever asks later; another submit hands the rows over."""
    refused = [{"on": "create", "nth": nth, "act": "refuse", "status": 429} for nth in (1, 2, 3, 5, 6, 7)]
    batches = {"seconds": 1, "faults": refused}
    with batched(tmp_path, rows=20, batches=batches, retry=BRIEF, engine={"max_lines": 10}) as job:
        ended = job.submit("--no-wait")
        assert (ended.code, job.run_json()["state"]) == (0, "waiting")
        assert ended.err.count("no room for another batch") == 2  # when it is so, and at the end
        assert "waiting for room at the provider, 20 of 20 rows pending" in ended.err
        assert "(Rate limit reached.): nothing was handed over of 20 rows" in " ".join(ended.err.split())
        told = batchrun("status", job.job).out
        assert "nothing was handed over of 20 rows" in " ".join(told.split())
        half = job.submit_here(wait=False)
        assert half.stopped_by is not None
        assert "10 rows are with the provider in 1 batch" in half.stopped_by.message
        assert "10 rows more were not handed over, submit again later" in half.stopped_by.message
        assert job.submit_here().ok == 20


def test_a_limit_is_for_rows_that_are_not_with_the_provider_yet(tmp_path: Path) -> None:
    """Those that are come back beside them."""
    with batched(tmp_path, rows=30, batches={"seconds": 0.5}) as job:
        job.submit_here(wait=False, limit=10)
        summary = job.submit_here(limit=5)
        assert (summary.ok, summary.pending, summary.exit_code) == (15, 15, 0)
        assert sorted(asked(job.calls())) == list(range(15))


def test_rows_that_fail_in_a_batch_fail_as_in_realtime(tmp_path: Path) -> None:
    """With the status and message of the provider; the others are ok."""
    faults = [{"match": "row 000003", "status": 400}]
    with batched(tmp_path, rows=10, config={"faults": faults}) as job:
        summary = job.submit_here()
        assert (summary.ok, summary.failed, summary.errors) == (9, 1, {"invalid_request": 1})
        row = job.results().row(3, named=True)
        assert row["error"]["http_status"] == 400
        assert row["batch_id"]


def test_rows_that_may_go_better_another_time_go_into_the_next_batch(tmp_path: Path) -> None:
    """A server's own failure is asked again, and both attempts show."""
    faults = [{"match": "row 000003", "status": 500, "first": 1}]
    with batched(tmp_path, rows=10, config={"faults": faults}) as job:
        assert job.submit_here().ok == 10
        attempts = job.results().row(3, named=True)["attempts"]
        assert [one["http_status"] for one in attempts] == [500, 200]
        assert len({one["batch_id"] for one in attempts}) == 2
        assert len(provider_batches(job)) == 2


def test_or_in_realtime_where_the_job_says_so(tmp_path: Path) -> None:
    """At the full price, and at once."""
    faults = [{"match": "row 000003", "status": 500, "first": 1}]
    with batched(tmp_path, rows=10, engine={"leftovers": "realtime"}, config={"faults": faults}) as job:
        assert job.submit_here().ok == 10
        row = job.results().row(3, named=True)
        assert [bool(one["batch_id"]) for one in row["attempts"]] == [True, False]
        assert row["batch_id"] is None
        assert len(provider_batches(job)) == 1
        assert row["cost_usd"] == pytest.approx(2 * job.results()["cost_usd"][4])


def test_rows_that_never_go_well_fail_when_their_attempts_are_used_up(tmp_path: Path) -> None:
    """`retry.max_attempts` counts batches, too."""
    faults = [{"match": "row 000003", "status": 500}]
    with batched(tmp_path, rows=5, retry={"max_attempts": 3}, config={"faults": faults}) as job:
        summary = job.submit_here()
        assert (summary.ok, summary.errors) == (4, {"server": 1})
        assert len(asked(job.calls())[3]) == 3


def test_expired_rows_are_asked_again_and_paid_once(tmp_path: Path) -> None:
    """What a batch has answered before it expired counts; the rest was never worked on."""
    batches = {"seconds": 6, "expires_after": 2}
    with batched(tmp_path, rows=60, batches=batches, engine={"leftovers": "realtime"}) as job:
        summary = job.submit_here()
        assert summary.ok == 60
        results = job.results()
        expired = results.filter(pl.col("batch_id").is_null())
        assert 0 < len(expired) < 60
        first = expired.row(0, named=True)["attempts"][0]
        assert (first["error_type"], first["sent"]) == ("timeout", False)
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}
        ledger = sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer)
        assert summary.cost_usd == pytest.approx(ledger)


def test_near_the_deadline_what_is_left_goes_on_in_realtime(tmp_path: Path) -> None:
    """The batch is cancelled first: no row is paid for twice, and each says which way it went."""
    with batched(tmp_path, rows=60, batches={"seconds": 30, "cancelling": 0.2}, finish_by="3s") as job:
        summary = job.submit_here()
        assert summary.ok == 60
        ways = job.results()["batch_id"].is_null()
        assert 0 < ways.sum() < 60
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}
        ledger = sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer)
        assert summary.cost_usd == pytest.approx(ledger)


def test_after_the_deadline_a_later_submit_does_not_wait(tmp_path: Path) -> None:
    """The time runs from the first batch, whoever waits."""
    with batched(tmp_path, rows=20, batches={"seconds": 30, "cancelling": 0.1}, finish_by="2s") as job:
        assert job.submit_here(wait=False, limit=10).state == "waiting"
        time.sleep(2)
        assert job.submit_here().ok == 20
        assert len(provider_batches(job)) == 1


def test_canary_rows_go_in_realtime_first(tmp_path: Path) -> None:
    """So that a job that cannot work is known at once, and not after a day."""
    with batched(tmp_path, rows=30, canary=5) as job:
        assert job.submit_here().ok == 30
        results = job.results()
        assert results["batch_id"].is_null().to_list() == [True] * 5 + [False] * 25
    with batched(tmp_path, rows=30, canary=5, name="other", config={"faults": [{"status": 400}]}) as job:
        summary = job.submit_here()
        assert summary.stopped_by is not None
        assert summary.stopped_by.kind == "canary"
        assert provider_batches(job) == []


def test_the_quota_is_respected_by_waiting(tmp_path: Path) -> None:
    """No batch is refused where the job names the quota: the next one is created when others are over."""
    config = {"enqueued_tokens": 1_500, "seconds": 0.3}
    with batched(tmp_path, rows=100, batches=config, engine={"enqueued_tokens": 200}) as job:
        assert job.submit_here().ok == 100
        made = provider_batches(job)
        assert {one["status"] for one in made} == {"completed"}
        assert len(made) > 1


def test_an_unknown_quota_is_found_out(tmp_path: Path) -> None:
    """A batch that the provider has no room for is created again when others are over; no row is lost."""
    config = {"enqueued_tokens": 1_500, "seconds": 0.2}
    with batched(tmp_path, rows=100, batches=config, engine={"max_lines": 30}) as job:
        assert job.submit_here().ok == 100
        states = [one["status"] for one in provider_batches(job)]
        assert "failed" in states
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_a_file_that_never_finds_room_is_split(tmp_path: Path) -> None:
    """Where nothing else is under way, a smaller one may."""
    config = {"enqueued_tokens": 1_000, "seconds": 0.05}
    with batched(tmp_path, rows=80, batches=config) as job:
        assert job.submit_here().ok == 80
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"engine": {"kind": "provider_batch", "poll": 0.05}}, "no file of requests|no batches"),
    ],
)
def test_an_endpoint_without_batches_says_so(tmp_path: Path, sections: dict[str, Any], says: str) -> None:
    """Before anything is paid, with what to do."""
    with batched(tmp_path, rows=3, **sections) as job:
        job.edit(endpoints={"local": {"base_url": base_url(job).replace("/v1", "/v2")}})
        with pytest.raises(JobError, match=says):
            job.submit_here()


def test_several_servers_have_no_batches_together(tmp_path: Path) -> None:
    """A batch is one server's."""
    with batched(tmp_path, rows=3) as job:
        url = base_url(job)
        job.edit(endpoints={"local": {"base_url": [url, url.replace("127.0.0.1", "localhost")]}})
        with pytest.raises(JobError, match="several servers"):
            job.submit_here()


def test_no_wait_is_for_batches(tmp_path: Path) -> None:
    """And a simulator that ends with its submit has none later."""
    with simulated(tmp_path, rows=3) as job:
        with pytest.raises(UsageError, match="--no-wait is for"):
            job.submit_here(wait=False)
        job.edit(engine={"kind": "provider_batch"}, model="simulator/small")
        with pytest.raises(UsageError, match="ends with its submit"):
            job.submit_here(wait=False)


def test_an_edit_while_rows_are_with_the_provider_asks_what_to_do(tmp_path: Path) -> None:
    """Their answers would be paid for and of no use; taking the edit back fetches them."""
    with batched(tmp_path, rows=20, batches={"seconds": 0.5}) as job:
        job.submit_here(wait=False)
        before = job.job.read_text()
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
        with pytest.raises(ChangedRowsError, match="20 rows are with a provider in 1 batch, and 20 of them"):
            job.submit_here()
        job.job.write_text(before)
        job.edit(engine={"kind": "local"})
        with pytest.raises(ChangedRowsError, match=r"engine\.kind: 20 rows are with a provider"):
            job.submit_here()
        job.job.write_text(before)
        assert job.submit_here().ok == 20
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_rerun_changed_pays_twice_and_keeps_the_books(tmp_path: Path) -> None:
    """The answers to the older prompt count as spent, and show in no row."""
    with batched(tmp_path, rows=20, batches={"seconds": 0.3}) as job:
        job.submit_here(wait=False)
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
        summary = job.submit_here(rerun_changed=True)
        assert summary.ok == 20
        ledger = sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer)
        assert summary.spent["cost_usd"] == pytest.approx(ledger)
        assert len(job.calls()) == 40


def test_the_budget_holds_over_all_batches(tmp_path: Path) -> None:
    """Never more than the cap, by the ledger; what was kept free and not taken buys further rows."""
    price = {"input": 1.0, "output": 20.0}
    sections: dict[str, Any] = {"prices": {"local/small": price}, "budget": {"cost_usd": 0.02}}
    with batched(tmp_path, rows=200, config={"cost": price}, engine={"max_lines": 15}, **sections) as job:
        summary = job.submit_here()
        ledger = sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer)
        assert summary.stopped_by is not None
        assert summary.stopped_by.kind == "budget"
        assert 0.005 < ledger <= 0.02
        assert summary.ok > 60
        assert len(provider_batches(job)) < 15
        assert summary.spent["cost_usd"] == pytest.approx(ledger)
        job.edit(budget={"cost_usd": 1.0})
        assert job.submit_here().ok == 200
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_a_file_never_goes_beyond_what_a_batch_may_hold(tmp_path: Path) -> None:
    """Bytes are counted before a line is added; a row that is too long by itself fails."""
    with batched(tmp_path, rows=40, engine={"max_bytes": 4_000}) as job:
        long = '{"id": "long", "text": "row 000040: ' + "x" * 5_000 + '", "n": 40}\n'
        job.rows.write_text(job.rows.read_text() + long)
        summary = job.submit_here()
        assert (summary.ok, summary.errors) == (40, {"invalid_request": 1})
        assert len(provider_batches(job)) > 2
        assert "engine.max_bytes" in job.results().row(40, named=True)["error"]["message"]


def test_conversations_take_a_batch_for_each_answer(tmp_path: Path) -> None:
    """Further turns, and answers that are asked for again, go into the next round."""
    prompt = {
        "messages": [{"role": "user", "content": "{{ text }}"}],
        "turns": [{"content": "and then?"}, {"content": "and then?"}],
    }
    with batched(tmp_path, rows=12, prompt=prompt) as job:
        assert job.submit_here().ok == 12
        assert len(provider_batches(job)) == 3
        assert all(len(one) == 6 for one in job.results()["messages"])
        assert len(job.calls()) == 36


def test_fallback_models_have_batches_of_their_own(tmp_path: Path) -> None:
    """A provider takes one model in a batch; a row that another model can mend goes there."""
    config = {"models": ["small", "large"], "faults": [{"match": "row 000003", "status": 400}]}
    sections: dict[str, Any] = {
        "fallbacks": ["local/large"],
        "fallback_on": ["invalid_request"],
        "retry": {"max_attempts": 2},
    }
    with batched(tmp_path, rows=8, batches={"models": "one"}, config=config, **sections) as job:
        summary = job.submit_here()
        assert (summary.ok, summary.failed) == (7, 1)
        models = [one["model"] for one in job.results().row(3, named=True)["attempts"]]
        assert models == ["local/small", "local/large"]


def test_a_file_with_a_wrong_line_costs_that_row_alone(tmp_path: Path) -> None:
    """The provider refuses the whole file and says the line; its row fails, the others go again."""
    with batched(tmp_path, rows=6, batches={"lines": 5}, engine={"max_lines": 6}) as job:
        first = job.submit_here()
        assert first.stopped_by is not None
        assert first.stopped_by.kind == "refused"
        assert "5 requests" in first.stopped_by.message
        job.edit(engine={"kind": "provider_batch", "poll": 0.05, "max_lines": 5})
        assert job.submit_here().ok == 6


def test_a_batch_that_the_provider_has_lost_is_not_paid_again_unasked(tmp_path: Path) -> None:
    """The submit stops and says how its rows are asked anew."""
    with batched(tmp_path, rows=6, batches={"seconds": 60}) as job:
        job.submit_here(wait=False)
        record = next(job.checkpoint.glob("batch-*.json"))
        record.write_text(record.read_text().replace("batch_00000001", "batch_00000009"))
        summary = job.submit_here()
        assert summary.stopped_by is not None
        assert summary.stopped_by.kind == "batches"
        name = record.stem.removeprefix("batch-")
        assert f"--batch {name}=none" in summary.stopped_by.message
        with pytest.raises(UsageError, match="no batch of that name"):
            job.submit_here(batches={"other": "none"})


@pytest.mark.parametrize("batch_id", ["batch_00000002", "batch_00000009"])
def test_a_batch_is_not_taken_for_another(tmp_path: Path, batch_id: str) -> None:
    """An id that the user has mistaken is refused before anything is changed, and nothing is paid twice."""
    with batched(tmp_path, rows=20, batches={"seconds": 0.5}, engine={"max_lines": 10}) as job:
        job.submit_here(wait=False)
        kept = records(job)
        (name,) = (record["stem"] for record in kept.values() if record["batch_id"] == "batch_00000001")
        other = next(record["stem"] for record in kept.values() if record["stem"] != name)
        with pytest.raises(UsageError, match=f"--batch {name}={batch_id}: .*batch") as raised:
            job.submit_here(batches={name: batch_id, other: "none"})
        assert f"--batch {name}=none" in str(raised.value.hint)
        assert records(job) == kept
        assert job.submit_here(batches={name: "batch_00000001"}).ok == 20
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_an_edit_is_asked_about_also_where_the_user_names_the_batch(tmp_path: Path) -> None:
    """Its answers would be of no use to the edited rows; a batch that is given up has none."""
    with batched(tmp_path, rows=5, batches={"seconds": 0.3}) as job:
        job.submit_here(wait=False)
        job.edit(request={"max_completion_tokens": 21})
        ((name, batch_id),) = ((record["stem"], record["batch_id"]) for record in records(job).values())
        with pytest.raises(ChangedRowsError, match="5 of them ask something else now"):
            job.submit_here(batches={name: batch_id})
        assert job.submit_here(batches={name: "none"}).ok == 5


def records(job: JobFolder) -> dict[str, dict[str, Any]]:
    """What is kept of batches, by the names of the files."""
    return {path.name: json.loads(path.read_text()) for path in job.checkpoint.glob("batch-*.json")}


def test_a_wrong_key_stops_at_once(tmp_path: Path) -> None:
    """With the exit code of a refused key, and no row is lost."""
    with batched(tmp_path, rows=6, config={"api_key": "the-right-key-1"}) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.pending) == (4, 6)


def test_a_simulator_of_the_job_is_asked_anew_where_it_ended_with_its_submit(tmp_path: Path) -> None:
    """Its batches ended with it: nothing is at stake."""
    rules = {"batches": {"seconds": 30, "validating": 0.01}}
    with batched(tmp_path, rows=6) as job:
        job.edit(
            model="sim/small",
            endpoints={"sim": {"preset": "simulator", "simulator": rules}},
            prices={},
            budget={"wall_time": "2s"},
        )
        assert job.submit_here(drain=0.1).exit_code == 3
        assert any(job.checkpoint.glob("batch-*.json"))
        rules["batches"]["seconds"] = 0.1
        job.edit(endpoints={"sim": {"preset": "simulator", "simulator": rules}}, budget={})
        assert job.submit_here().ok == 6


def test_answers_are_kept_although_too_many_of_them_fail(tmp_path: Path) -> None:
    """The breaker ends sending; what a batch has brought was paid for, and is taken up to its end."""
    with batched(tmp_path, rows=80, config={"faults": [{"status": 400}]}, engine={"max_lines": 40}) as job:
        summary = job.submit_here()
        assert summary.stopped_by is not None
        assert summary.stopped_by.kind == "breaker"
        assert summary.failed in (40, 80)


def test_a_stream_is_not_asked_of_a_batch(tmp_path: Path) -> None:
    """`stream` is left out, and the rows come all the same."""
    with batched(tmp_path, rows=5, request={"stream": True, "max_completion_tokens": 20}) as job:
        job.submit_here(wait=False)
        (batch,) = provider_batches(job)
        bodies = [line["body"] for line in lines_of(job, batch["input_file_id"])]
        assert all(body.keys() == {"model", "messages", "max_completion_tokens"} for body in bodies)
        assert job.submit_here().ok == 5


def test_rows_that_move_while_they_are_with_the_provider_keep_their_answers(tmp_path: Path) -> None:
    """A row is known by its id and what it asks, not by its place: rows were put in front of it meanwhile."""
    batches = {"seconds": 6, "expires_after": 2}
    with batched(tmp_path, rows=40, batches=batches, engine={"leftovers": "realtime"}) as job:
        job.submit_here(wait=False)
        new = '{"id": "new", "text": "row 000900: please answer", "n": 0}\n'
        job.rows.write_text(new + job.rows.read_text())
        assert job.submit_here().ok == 41
        calls = asked(job.calls())
        assert sorted(calls) == [*range(40), 900]
        assert {len(found) for found in calls.values()} == {1}
        results = job.results()
        assert results["row_id"].to_list()[1] == "r000000"
