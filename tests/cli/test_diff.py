"""`batchrun diff` as the shell sees it: on a terminal, without one, for programs, and into files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest
from rich.cells import cell_len

from batchrun.diff.examples import Example
from tests.cli.conftest import BAD, REFUSED, ROWS
from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen
from tests.cli.test_start import CALLS, FORECAST, JOBS, PROGRAM, RARE
from tests.commands import batchrun
from tests.diff.comparing import LABELS, Failure, labels, run_of
from tests.hostile import FOR_TERMINALS, hostile_run, obeyed, storable
from tests.runs import JobFolder, write_rows

REASONED = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "why": {"type": "string"}},
    "required": ["label", "why"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> JobFolder:
    """A job of 40 rows and its run, and one of another model in runs/large. Not to be changed."""
    job = JobFolder(tmp_path_factory.mktemp("job"))
    write_rows(job.rows, ROWS)
    job.write(
        endpoint, prices={"local/small": {"input": 1, "output": 2}, "local/large": {"input": 2, "output": 4}}
    )
    assert batchrun("submit", "job.yaml", cwd=job.folder).code == 1
    assert (
        batchrun("submit", "job.yaml", "--model", "local/large", "--name", "large", cwd=job.folder).code == 0
    )
    return job


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with labels and their truth, a and b. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    gold = {"gold": ["x", "x", "y", "y", "y", "y"]}
    run_of(folder / "a", labels("x", "x", "y", "y", "x", Failure()), schema=LABELS, columns=gold, tokens=100)
    run_of(folder / "b", labels("x", "y", "y", "y", "y", "y"), schema=LABELS, columns=gold, latency=0.5)
    return folder


READ: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    "csv": pl.read_csv,
    "jsonl": pl.read_ndjson,
    "parquet": pl.read_parquet,
}

TRUTH = ["diff", "a/runs/job", "b/runs/job", "--field", "parsed.label", "--truth", "gold"]

SCREEN = """\
a, b: 2 of 5 rows differ (40.0%)
  rows        6 in every run, 0 only in some; 5 ok in every run
  compared    parsed.label, 2 different values
  truth       gold; failed rows count as wrong: 1 of a

  run  rows  ok  failed  changed  alike  kappa  accuracy
  a       6   5       1                            66.7%
  b       6   6       0        2  60.0%   0.29     83.3%

  run  cost  a row     p50     p95  tokens
  a       -      -  0.25 s  0.25 s     606
  b       -      -  0.50 s  0.50 s      66
                     +100%   +100%    -89%

  run  truth  answer  rows
  a    y      x          1
  b    x      y          1

r1
  a      x
  b      y
  truth  x

r4
  a      x
  b      y
  truth  y
"""


def stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_the_screen(folder: Path) -> None:
    """On a terminal of 80 columns and in a pipe alike, but for colours."""
    piped = batchrun(*TRUTH, cwd=folder)
    assert (piped.code, piped.err) == (0, "")
    assert stripped(piped.out) == SCREEN.splitlines()
    code, written = here_on_a_terminal(TRUTH, folder)
    assert code == 0
    assert [line for line in stripped("\n".join(lines_seen(written))) if line] == [
        line for line in SCREEN.splitlines() if line
    ]


def test_accuracies_of_different_rows_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """Where a run has only some of the rows that have a truth."""
    run = run_of(tmp_path / "c", labels("x", Failure()), schema=LABELS)
    words = ["diff", "a/runs/job", str(run.path), "--field", "parsed.label", "--truth", "gold"]
    said = batchrun(*words, cwd=folder).out.splitlines()[3]
    known = "known for 6 rows of a, 2 rows of c; failed rows count as wrong: 1 of a, 1 of c"
    assert said == f"  truth       gold; {known}"


def test_a_job_file_and_a_run_folder_are_compared(job: JobFolder) -> None:
    """What failed in one is not compared; money and time are told of both."""
    ended = batchrun("diff", "job.yaml", "runs/large", "--limit", "1", cwd=job.folder)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "job, large: 38 of 38 rows differ (100.0%)"
    assert lines[1] == "  rows        40 in every run, 0 only in some; 38 ok in every run"
    assert lines[2] == "  compared    completion"
    assert lines[-3] == "r000000"
    assert lines[-2].startswith("  job    ")
    found = batchrun("diff", "job.yaml", "runs/large", "--json", cwd=job.folder).json
    assert [run["failed"] for run in found["runs"]] == [2, 0]
    assert found["runs"][0]["errors"] == {"invalid_request": 1, "refusal": 1}
    for run, name in zip(found["runs"], ["job", "large"], strict=True):
        said = json.loads((job.folder / "runs" / name / "run.json").read_text())
        assert run["cost_usd"] == pytest.approx(said["cost_usd"])
        assert run["usage"] == said["usage"]
        assert run["latency"] == {name: said["latency"][name] for name in ("p50", "p95")}
    assert found["runs"][1]["against_base"]["cost_usd_per_row"]["ratio"] > 1
    assert {BAD, REFUSED}.isdisjoint(example["row_id"] for example in found["examples"])


def test_json_is_one_object(folder: Path) -> None:
    """With all that the screen says, and what there was no room for."""
    found = batchrun(*TRUTH, "--json", "--limit", "0", cwd=folder).json
    assert set(found) == {
        *("compared", "truth", "by_number", "rows_in_all", "rows_in_some", "rows_ok_in_all", "rows_changed"),
        *("agreement", "labels", "fleiss_kappa", "runs", "pairs", "examples", "out"),
    }
    assert found["pairs"] == [
        {
            "first": "a",
            "second": "b",
            "rows": 5,
            "changed": 2,
            "agreement": 0.6,
            "cohen_kappa": pytest.approx((0.6 - 0.44) / 0.56),
            "mean_absolute_difference": None,
        }
    ]
    assert found["runs"][1]["truth"]["labels"][0] == {
        "label": "y",
        "rows": 4,
        "right": 4,
        "answered": 5,
        "precision": 0.8,
        "recall": 1.0,
        "f1": pytest.approx(8 / 9),
    }
    assert found["examples"] == []


@pytest.mark.parametrize("form", READ)
def test_all_rows_go_into_a_file(folder: Path, tmp_path: Path, form: str) -> None:
    """A column for each run, in any format that export writes beside the results."""
    out = tmp_path / f"wide.{form}"
    ended = batchrun(*TRUTH, "--out", out, cwd=folder)
    assert ended.err == f"6 rows in {out}\n"
    rows = READ[form](out)
    assert rows.columns == ["row_id", "status@a", "status@b", "label@a", "label@b", "truth", "agrees"]
    assert rows.row(1) == ("r1", "ok", "ok", "x", "y", "x", False)
    assert rows.row(5) == ("r5", "failed", "ok", None, "y", "y", None)
    said = batchrun(*TRUTH, "--out", out, "--json", cwd=folder).json
    assert said["out"] == str(out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["diff"], "diff compares two runs or more, and none was named"),
        (["diff", "a/runs/job"], "and 1 was named"),
        (["diff", "a/runs/job", "a/runs/job"], "is named twice"),
        (["diff", "a/runs/job", "nope"], "nope: no such file or folder"),
        (["diff", "a/runs/job", "."], "there is no run in"),
        ([*TRUTH[:3], "--field", "parsed.lable"], "no member `lable`\n  Members: label, score, sure"),
        (
            [*TRUTH[:5], "--truth", "status"],
            "no run has such a column of its input\n  Columns of inputs: a: id, text, gold;",
        ),
        (
            [*TRUTH[:3], "--out", "x.txt"],
            ".txt is no format that is written\n  Name a file in .csv, .jsonl,",
        ),
        ([*TRUTH[:3], "--out", "b/runs/job/x.csv"], "lies in a run folder"),
        ([*TRUTH[:3], "--out", "nowhere/x.csv"], "cannot be written"),
    ],
)
def test_a_wrong_command_says_what_to_do(folder: Path, words: list[str], said: str) -> None:
    """Exit code 2, also as JSON; nothing on standard output otherwise."""
    ended = batchrun(*words, cwd=folder)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert batchrun(*words, "--json", cwd=folder).json["error"]["exit_code"] == 2


def test_no_run_is_written_into(job: JobFolder, folder: Path) -> None:
    """Neither the run that is read, nor another one: by its folder, or by the link to its results."""
    other = folder / "a" / "runs" / "job"
    part = other / "results" / "part-00000.parquet"
    before = part.read_bytes()
    for out in (part, part.resolve(), other / "new.parquet", other / "checkpoint" / "new.parquet"):
        for words in (["diff", "job.yaml", "runs/large"], ["export", "runs/large"], ["export", "job.yaml"]):
            ended = batchrun(*words, "--out", out, cwd=job.folder)
            assert (ended.code, "lies in a run folder" in ended.err) == (2, True), ended.err
        page = out.with_suffix(".html")
        assert batchrun("report", "job.yaml", "--out", page, cwd=job.folder).code == 2
    assert part.read_bytes() == before


def test_what_a_job_reads_is_not_written_over(job: JobFolder) -> None:
    """Whichever of the runs it belongs to."""
    before = job.rows.read_bytes()
    ended = batchrun("diff", "runs/large", "job.yaml", "--out", "rows.jsonl", cwd=job.folder)
    assert (ended.code, "is what the job reads" in ended.err) == (2, True)
    assert job.rows.read_bytes() == before


def test_a_damaged_run_is_named(folder: Path, tmp_path: Path) -> None:
    """With the file."""
    damaged = run_of(tmp_path / "c", labels("x"), schema=LABELS)
    part = next(damaged.results.glob("*.parquet")).resolve()
    part.write_bytes(part.read_bytes()[:-20])
    ended = batchrun("diff", "a/runs/job", damaged.path, cwd=folder)
    assert ended.code == 2
    assert f"{part.name} is damaged" in ended.err or f"{part.name}: cannot be read" in ended.err


def test_answers_are_cut_where_they_begin_to_differ(tmp_path: Path) -> None:
    """On a terminal each takes one line, with what is different in it."""
    runs = [
        run_of(tmp_path / name, ["word " * 60 + f"\nthen {name} " + "z" * 300]) for name in ("one", "two")
    ]
    _, written = here_on_a_terminal(["diff", *(str(run.path) for run in runs)], tmp_path)
    lines = lines_seen(written)
    assert all(len(line) <= 80 for line in lines)
    shown = [line for line in lines if "then" in line]
    assert [line[:32] for line in shown] == [
        f"  {name}  …ord word word ␊then {name} " for name in ("one", "two")
    ]
    assert all(line.rstrip().endswith("z…") for line in shown)


def test_a_long_struct_is_json_on_one_line(tmp_path: Path) -> None:
    """Without the marks of line breaks that the answer never had."""
    answers = [{"label": name, "why": f"{name} " * 20} for name in ("one", "two")]
    runs = [run_of(tmp_path / answer["label"], [answer], schema=REASONED) for answer in answers]
    said = batchrun("diff", *(str(run.path) for run in runs), cwd=tmp_path).out
    assert '  two  {"label": "two", "why": "two two ' in said
    assert "␊" not in said


def test_wide_letters_take_two_columns(tmp_path: Path) -> None:
    """An answer still is one line of the terminal."""
    runs = [run_of(tmp_path / name, [f"{name} " + "漢字" * 100]) for name in ("one", "two")]
    _, written = here_on_a_terminal(["diff", *(str(run.path) for run in runs)], tmp_path)
    shown = [line for line in lines_seen(written) if "漢" in line]
    assert [line[:12] for line in shown] == ["  one  one 漢字"[:12], "  two  two 漢字"[:12]]
    assert all(70 < cell_len(line) <= 80 for line in shown)


def test_many_runs_with_long_names_fit_the_screen(tmp_path: Path) -> None:
    """Names give way, figures do not."""
    names = [f"{letter * 40}-run" for letter in "abcde"]
    gold = {"gold": ["x", "y", "y"]}
    runs = [
        run_of(
            tmp_path / name[0], labels("x", "y", "x"), name=name, schema=LABELS, columns=gold, cost=0.00012345
        )
        for name in names
    ]
    words = ["diff", *(str(run.path) for run in runs), "--field", "parsed.label", "--truth", "gold"]
    _, written = here_on_a_terminal(words, tmp_path)
    lines = lines_seen(written)
    assert all(len(line) <= 80 for line in lines)
    assert sum("100.0%" in line and "…" in line for line in lines) == 4
    assert sum("66.7%" in line for line in lines) == 5
    assert sum("$0.00037" in line for line in lines) == 5


@pytest.mark.long
def test_hostile_text_commands_nothing(tmp_path: Path) -> None:
    """Names of runs, ids, answers, truths and confusions: on a terminal, in a pipe and as JSON."""
    texts = [storable(text) for text in FOR_TERMINALS]
    ids = [f"{number} {text}" for number, text in enumerate(texts)]
    for folder, said in (("a", texts), ("b", texts[::-1])):
        name = folder + "".join(texts[::-1])
        run_of(tmp_path / folder, said, name=name, ids=ids, columns={"gold": texts[1:] + texts[:1]})
    words = ["diff", "a/runs/job", "b/runs/job", "--truth", "gold", "--limit", "1000"]
    ended = batchrun(*words, cwd=tmp_path)
    assert ended.code == 0
    assert len(ended.out.splitlines()) > 5 * len(texts)
    assert obeyed(ended.out + ended.err, terminal=False) == []
    assert obeyed(batchrun(*words, "--json", cwd=tmp_path).out, terminal=False) == []
    code, written = here_on_a_terminal(words, tmp_path)
    assert (code, obeyed(written, terminal=True)) == (0, [])


@pytest.mark.parametrize("words", [[], ["--json"], ["--field", "usage"]], ids=str)
def test_runs_of_hostile_columns_are_compared(tmp_path: Path, words: list[str]) -> None:
    """Names of columns and of members too."""
    for folder in "ab":
        hostile_run(tmp_path / folder, FOR_TERMINALS)
    ended = batchrun("diff", "a", "b", *words, cwd=tmp_path)
    assert ended.code == 0
    assert obeyed(ended.out + ended.err, terminal=False) == []
    ended = batchrun("diff", "a", "b", "--field", "nope", cwd=tmp_path)
    assert (ended.code, obeyed(ended.err, terminal=False)) == (2, [])


def test_it_loads_what_it_uses(folder: Path) -> None:
    """Run folders are compared without what reads jobs and makes calls."""
    command = [sys.executable, "-c", PROGRAM, *TRUTH]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    found = json.loads(ended.stderr.rpartition("\n")[2])
    assert found["code"] == 0, ended.stderr
    assert {*CALLS, *RARE, *FORECAST, *JOBS} & set(found["loaded"]) == set()


def test_an_example_says_where_there_is_nothing() -> None:
    """No such row, no answer, a failed one."""
    from batchrun.cli.comparison import _said

    status = {"a": "ok", "b": None, "c": "failed"}
    example = Example("r", status, {"a": None, "b": None, "c": {"label": "x"}})
    assert [_said(example, name) for name in "abc"] == [
        "(nothing)",
        "(no such row)",
        '(failed) {"label": "x"}',
    ]
