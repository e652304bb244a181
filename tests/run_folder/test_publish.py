"""Publication: one row a finished input row, in input order, in generations that are swapped at once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.errors import InputError, RunFolderError
from batchrun.index import State
from batchrun.outcome import Completed
from batchrun.run_folder.checkpoint.checkpoint import write_kept
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.columns.layout import input_names
from batchrun.run_folder.results.bucket import BUCKET
from batchrun.run_folder.results.read import see
from tests.run_folder.answering import Work, failed, large
from tests.run_folder.recorded import answered, body, done, reply, sent

ROWS = [{"id": f"r{n}", "text": f"text {n}", "n": n} for n in range(20)]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A job of twenty rows."""
    return Work(tmp_path).write(ROWS)


def parts(work: Work) -> dict[str, int]:
    """Inode of each part of the results."""
    return {path.name: path.stat().st_ino for path in sorted(work.run.results.iterdir())}


def test_results_are_in_input_order_whatever_the_order_of_answers(work: Work) -> None:
    """Over several sealed parts; each row beside its own answer."""
    order = list(range(20))
    random.Random(1).shuffle(order)
    for at in range(0, 20, 7):
        work.answer(order[at : at + 7])
    assert work.publish() is True
    found = work.results()
    assert found["row_index"].to_list() == list(range(20))
    assert found["row_id"].to_list() == [str(n) for n in range(20)]
    assert found["n"].to_list() == list(range(20))
    assert found["completion"].to_list() == [f"answer {order.index(n) + 1}" for n in range(20)]
    assert found.columns == [*RESULT_SCHEMA.names[:2], "id", "text", "n", *RESULT_SCHEMA.names[2:]]


def test_only_finished_rows_stand_in_the_results(work: Work) -> None:
    """Failed ones too, the ones to be tried again included; pending ones not."""
    work.answer([1, 5])
    work.answer([3], failed)
    work.answer([7], lambda task: [sent(task), done(task, "timeout")])
    work.publish()
    found = work.results().select("row_index", "status", "error_type").rows()
    assert found == [
        (1, "ok", None),
        (3, "failed", "invalid_request"),
        (5, "ok", None),
        (7, "failed", "timeout"),
    ]


def test_the_id_column_names_the_rows(work: Work) -> None:
    """As text; a row without one has its number."""
    work.write([{"id": 7, "text": "a"}, {"text": "b"}, {"id": "x", "text": "c"}, "no json"])
    work.sections["input"] = {"path": "rows.jsonl", "id": "id"}
    work.answer([0, 2])
    work.answer([1, 3], lambda task: [done(task, "bad_row")])
    work.publish()
    found = work.results()
    assert found["row_id"].to_list() == ["7", "1", "x", "3"]
    assert found["id"].to_list() == ["7", None, '"x"', None], "a column of mixed kinds is JSON text"
    assert found["status"].to_list() == ["ok", "failed", "ok", "failed"]


def test_nothing_new_publishes_nothing(work: Work) -> None:
    """The generation stays the one that is there."""
    work.answer([1])
    assert work.publish() is True
    before = work.run.results.readlink()
    assert work.publish() is False
    assert work.run.results.readlink() == before


def test_an_empty_run_has_one_empty_part_with_all_columns(work: Work) -> None:
    """Never an empty glob."""
    work.publish()
    assert list(parts(work)) == ["part-00000.parquet"]
    found = work.results()
    assert found.height == 0
    assert {"text", "completion", "usage"} <= set(found.columns)
    assert work.publish() is False
    work.write([])
    work.publish()
    assert work.results().height == 0


def test_full_buckets_are_linked_and_changed_ones_written(tmp_path: Path) -> None:
    """5,000 input rows a part, named by its number: a part without rows is left out."""
    work = Work(tmp_path).write([{"text": f"t{n}"} for n in range(4 * BUCKET + 10)])
    work.answer([0, 4999, 5000, 9999, 20_000, 20_009])
    work.publish()
    before = parts(work)
    assert list(before) == ["part-00000.parquet", "part-00001.parquet", "part-00004.parquet"]
    sizes = [pq.read_metadata(work.run.results / name).num_rows for name in before]
    assert sizes == [2, 2, 2]
    work.answer([10_000, 9998])
    work.publish()
    after = parts(work)
    assert list(after) == [f"part-0000{n}.parquet" for n in (0, 1, 2, 4)]
    assert [name for name in after if before.get(name) == after[name]] == [
        "part-00000.parquet",
        "part-00004.parquet",
    ]
    assert work.results()["row_index"].to_list() == [0, 4999, 5000, 9998, 9999, 10_000, 20_000, 20_009]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in work.run.results.iterdir())


def test_a_lost_part_of_the_generation_before_is_written_again(tmp_path: Path) -> None:
    """A link that cannot be made is no reason to fail."""
    work = Work(tmp_path).write([{"text": f"t{n}"} for n in range(BUCKET + 1)])
    work.answer([0])
    work.publish()
    (work.run.results / "part-00000.parquet").unlink()
    work.answer([BUCKET])
    work.publish()
    assert work.results()["row_index"].to_list() == [0, BUCKET]


def test_the_generation_before_stays_readable(work: Work) -> None:
    """For whoever opened it; only older ones go, and `results` is a relative link, so that a run can move."""
    readers = []
    for row in range(4):
        work.answer([row])
        work.publish()
        readers.append(work.run.results.resolve())
    assert [reader.exists() for reader in readers] == [False, False, True, True]
    assert pl.read_parquet(readers[2] / "*.parquet").height == 3
    assert str(work.run.results.readlink()) == f"generations/{readers[3].name}"
    moved = work.run.path.rename(work.folder / "moved")
    assert pl.read_parquet(moved / "results" / "*.parquet").height == 4


def test_a_killed_publication_is_harmless_and_cleaned_up(work: Work) -> None:
    """Half a generation, a half-made pointer: the next one takes other names and removes them."""
    work.answer([1])
    work.publish()
    before = work.results()
    half = work.run.generations / "000002"
    half.mkdir()
    (half / "part-00000.parquet").write_bytes(b"PAR1 half")
    (half / "part-00001.tmp").write_bytes(b"PAR1")
    (work.run.path / "results.tmp").symlink_to("generations/000002")
    assert work.results().equals(before)
    assert work.publish() is False
    work.answer([2])
    assert work.publish() is True
    assert work.results()["row_index"].to_list() == [1, 2]
    assert sorted(path.name for path in work.run.generations.iterdir()) == ["000001", "000003"]


def test_a_publication_that_fails_takes_back_what_it_wrote(work: Work) -> None:
    """A full disk has better use for the room, and the results stay those of before."""
    work.answer([1])
    work.publish()
    before = work.results()
    work.answer([2])
    rows = work.folder / "rows.jsonl"
    with pytest.raises(InputError, match="changed"):
        work.publish(meanwhile=lambda: rows.write_text(rows.read_text() + "{}\n"))
    assert [path.name for path in work.run.generations.iterdir()] == ["000001"]
    assert work.results().equals(before)


def test_a_kill_right_after_the_swap_is_noticed(work: Work) -> None:
    """What was noted of the generation before must not be taken for what is published now."""
    work.answer([1])
    work.publish()
    note = (work.run.checkpoint_path / "published.json").read_bytes()
    work.answer([2])
    work.publish()
    (work.run.checkpoint_path / "published.json").write_bytes(note)
    (work.run.checkpoint_path / "sealed-000002.parquet").unlink()  # as if the edit was taken back
    work.publish()
    assert work.results()["row_index"].to_list() == [1]


@pytest.mark.parametrize("note", [b"", b"{", b"[]"])
def test_a_damaged_note_costs_only_time(work: Work, note: bytes) -> None:
    """Everything is written anew."""
    work.answer([1])
    work.publish()
    (work.run.checkpoint_path / "published.json").write_bytes(note)
    assert work.publish() is True
    assert work.results()["row_index"].to_list() == [1]


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (["a", "status"], ["a", "input_status"]),
        (["Status", "ROW_ID"], ["input_Status", "input_ROW_ID"]),
        (["status", "input_status"], ["input_status", "input_input_status"]),
        (["STATUS", "status"], ["input_STATUS", "input_input_status"]),
        (["input_text"], ["input_text"]),
        (["messages"], ["input_messages"]),
    ],
)
def test_an_input_column_that_collides_with_ours_gets_a_prefix(names: list[str], given: list[str]) -> None:
    """Case ignored, as DuckDB reads names; no two columns are one."""
    assert input_names(names, RESULT_SCHEMA.names) == given


def test_colliding_columns_are_both_there(work: Work) -> None:
    """With their own values."""
    work.write([{"text": "t", "Status": "open", "input_status": "x", "ROW_ID": 5, "Usage": {"a": 1}}])
    work.answer([0])
    work.publish()
    (row,) = work.results().to_dicts()
    assert (row["status"], row["row_id"]) == ("ok", "0")
    assert (row["input_Status"], row["input_ROW_ID"], row["input_Usage"]) == ("open", 5, {"a": 1})
    assert row["input_input_status"] == "x"


@pytest.mark.parametrize(
    ("columns", "carried"), [("all", ["id", "text", "n"]), ("none", []), (["n", "id"], ["n", "id"]), ([], [])]
)
def test_only_the_columns_that_are_wanted_are_carried(work: Work, columns: Any, carried: list[str]) -> None:
    """In the order asked for."""
    work.sections["output"] = {"columns": columns}
    work.answer([0, 3])
    work.publish()
    found = work.results()
    assert found.columns == [*RESULT_SCHEMA.names[:2], *carried, *RESULT_SCHEMA.names[2:]]
    assert found.height == 2


def test_a_part_with_other_rows_is_told_and_written_anew(work: Work) -> None:
    """Another program has put its table there, or an export."""
    work.answer([0, 1])
    work.publish()
    before = work.results()
    (part,) = work.run.results.glob("*.parquet")
    before.select("row_id", "completion").write_parquet(part)
    with pytest.raises(RunFolderError, match="there is no column `row_index`") as caught:
        see(work.run)
    assert part.name in caught.value.message
    assert work.publish() is True
    assert work.results().equals(before)


def test_other_options_write_the_results_anew(work: Work) -> None:
    """They are part of what a generation depends on."""
    work.answer([0])
    work.publish()
    work.sections["output"] = {"columns": "none"}
    assert work.publish() is True
    assert "text" not in work.results().columns


def test_other_options_write_results_without_a_row_anew(work: Work) -> None:
    """Their columns are the job's, too."""
    work.publish()
    work.sections["output"] = {"columns": "none", "raw": True}
    assert work.publish() is True
    columns = work.results().columns
    assert "text" not in columns
    assert "raw_request" in columns
    assert work.publish() is False


def test_messages_and_raw_bodies_are_kept_where_wanted(work: Work) -> None:
    """The request as the model that answered was sent it; the response byte by byte."""
    work.sections |= {
        "output": {"messages": True, "raw": True},
        "fallbacks": [{"model": "vllm/large", "request": {"top_k": 5}}],
        "request": {"seed": 1, "metadata": {"n": "no {{ n }}"}},
    }
    raw = body("hi").replace(b'": ', b'" :  ')
    work.answer([0], lambda task: [sent(task), answered(task, exchange=reply(raw)), done(task)])
    work.answer(
        [1],
        lambda task: [
            sent(task),
            answered(task, exchange=reply(b"{}", 503)),
            sent(task, 1, model="vllm/large", index=1),
            answered(task, 1, reply(raw)),
            done(task, Completed(1), errors=("server", None), index=1),
        ],
    )
    work.answer([2], lambda task: [done(task, "render")])
    work.answer(
        [3],
        lambda task: [
            sent(task, model="gone/away", index=7),
            answered(task, exchange=reply(raw)),
            done(task, index=7),
        ],
    )
    work.publish()
    rows = work.results().to_dicts()
    said = [[(entry["role"], entry["content"]) for entry in row["messages"]] for row in rows[:2]]
    assert said == [[("user", f"text {n}")] for n in (0, 1)]
    message = '"messages":[{"role":"user","content":"text %d"}]'
    assert rows[0]["raw_request"] == f'{{"model":"small",{message % 0},"seed":1,"metadata":{{"n":"no 0"}}}}'
    assert rows[1]["raw_request"].startswith(f'{{"model":"large",{message % 1}')
    assert '"top_k":5' in rows[1]["raw_request"]
    assert [row["raw_response"] for row in rows] == [raw.decode(), raw.decode(), None, raw.decode()]
    assert rows[2]["raw_request"] is None
    assert rows[3]["raw_request"] is None, "the job's chain holds that model no more"


def test_a_request_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    """A row that failed for it must not stop the publication."""
    table = pl.DataFrame({"text": ["a", "b"], "blob": [b"\xff", None]})
    table.write_parquet(tmp_path / "rows.parquet")
    work = Work(tmp_path)
    work.sections = {
        "input": {"path": "rows.parquet"},
        "output": {"raw": True},
        "request": {"extra_body": {"x": "{{ blob }}"}},
    }
    work.answer([0], lambda task: [sent(task), done(task, "render")])
    work.answer([1])
    work.publish()
    rows = work.results().to_dicts()
    assert rows[0]["raw_request"] is None
    assert '"x":null' in rows[1]["raw_request"]


def test_rows_that_stand_by_an_older_answer_are_marked_stale(work: Work) -> None:
    """Kept or waiting for another, they show no messages: those of the older prompt are gone."""
    work.sections["output"] = {"messages": True}
    work.answer([0, 1])
    work.sections["prompt"] = {"messages": [{"role": "user", "content": "{{ text }}!"}]}
    states = work.survey().states()
    assert states["state"].to_list()[:3] == [State.CHANGED, State.CHANGED, State.NEW]
    write_kept(work.run.checkpoint_path, states.filter(pl.col("row_index") == 1).select("key", "hash"))
    work.answer([2])
    work.publish()
    found = work.results().select(
        "row_index", "stale", "completion", pl.col("messages").is_null().alias("none")
    )
    assert found.rows() == [
        (0, True, "answer 1", True),
        (1, True, "answer 2", True),
        (2, False, "answer 3", False),
    ]
    work.answer([0])
    work.publish()
    assert work.results().select("stale", "completion").rows()[:2] == [
        (False, "answer 4"),
        (True, "answer 2"),
    ]


def test_an_edit_that_is_taken_back_brings_the_results_back(work: Work) -> None:
    """Answers to removed rows and other prompts stay in the checkpoint."""
    work.answer([0, 1, 2])
    work.publish()
    before = work.results()
    work.sections["prompt"] = {"messages": [{"role": "user", "content": "{{ text }}!"}]}
    work.publish()
    assert work.results()["stale"].to_list() == [True] * 3
    del work.sections["prompt"]
    work.write(ROWS[1:])
    work.publish()
    assert work.results()["completion"].to_list() == ["answer 2", "answer 3"]
    work.write(ROWS)
    work.publish()
    assert work.results().equals(before)


def test_large_answers_are_not_held_together(tmp_path: Path) -> None:
    """Also where some were sealed out of order, which copies them: 60 MB of answers take less."""
    work = Work(tmp_path).write([{"text": f"text {n}"} for n in range(60)])
    order = [*range(30), 31, 30, *range(32, 60)]
    for at in (0, 31):
        work.answer(order[at : at + 31], large(1_000_000))
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        work.publish()
    finally:
        pa.set_memory_pool(before)
    peak = pool.max_memory()
    assert peak is not None
    assert peak < 60_000_000
    assert work.results()["completion"].str.extract(r"answer (\d+) ", 1).to_list() == [
        str(order.index(n) + 1) for n in range(60)
    ]


@pytest.mark.parametrize("batch", [1, 300])
def test_rows_of_any_batch_size_meet_their_answers(tmp_path: Path, batch: int) -> None:
    """The borders of batches and of buckets are not the same."""
    wide = "x" * (300_000 if batch == 1 else 1)
    work = Work(tmp_path).write([{"text": f"t{n}", "wide": wide if n % 7 == 0 else ""} for n in range(40)])
    work.answer([0, 7, 8, 39])
    work.publish()
    assert work.results()["text"].to_list() == ["t0", "t7", "t8", "t39"]
