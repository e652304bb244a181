"""What every verb writes: on a terminal of 80 columns, without one, and with `--json`."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen
from tests.cli.verbs import commands
from tests.cli.workspace import REFUSED, ROWS, serving, waiting, words_of
from tests.commands import Ended, batchrun

WIDTH = 80
UNBROKEN = 50
"""Columns of a word from which on a line may be too long for it: a path, a command line."""

STYLE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Case:
    """A verb at work, and what it has to say.

    Attributes:
        words: after `batchrun`.
        out: what standard output begins with, as a pattern; empty where nothing is to be there.
        err: what standard error holds.
        facts: what the text says, told from the JSON.
        in_lines: whether `--json` gives a line for each row.
        is_json: whether the text is JSON, which is not wrapped.
        going: whether a submit has to be running, and paused.
    """

    words: str
    out: str
    err: str
    facts: Callable[[Any], Iterable[str]]
    in_lines: bool = False
    is_json: bool = False
    going: tuple[bool, bool] = (False, False)


def of_rows(found: Any) -> list[str]:
    return [f"{found[name]} {name}" for name in ("ok", "failed", "pending") if found[name]]


CASES = {
    "submit": Case(
        "submit job.yaml --name more --limit 4",
        "",
        "more: 26 of 30 rows pending as asked",
        lambda found: [*of_rows(found), *(f"{number} {kind}" for kind, number in found["errors"].items())],
    ),
    "plan": Case(
        "plan job.yaml --name more",
        "more: 30 of 30 rows would be asked",
        "reading my.jsonl",
        lambda found: [f"{found['to_do']} of {ROWS} rows", found["models"][0]["model"], "no row may fail"],
    ),
    "status": Case(
        "status job.yaml",
        "job: finished",
        "",
        lambda found: [*of_rows(found), f"{found['errors']['refusal']} refusal", "runs/job/results"],
    ),
    "pause": Case(
        "pause job.yaml",
        "",
        "to go on: batchrun resume job.yaml",
        lambda found: ["paused"] if found["paused"] else [],
        going=(True, False),
    ),
    "resume": Case(
        "resume job.yaml",
        "",
        "to look at it: batchrun status job.yaml",
        lambda found: [] if found["paused"] else ["resumed"],
        going=(True, True),
    ),
    "cancel": Case(
        "cancel batches.yaml",
        "batches: 1 batch with 30 rows would be cancelled",
        "",
        lambda found: [
            f"{batch['name']}: {batch['batch_id']} {batch['status']}, 0 of {batch['rows']} answered"
            for batch in found["batches"]
        ],
    ),
    "show": Case(
        f"show job.yaml T-0007 {REFUSED}",
        rf"{REFUSED}  failed",
        "",
        lambda found: (
            [f"{row['row_id']}  {row['status']}" for row in found]
            + [row["parsed"]["label"] for row in found if row["parsed"]]
        ),
        in_lines=True,
    ),
    "export": Case(
        "export job.yaml --out answers.csv",
        "",
        "30 rows in answers.csv",
        lambda found: [f"{found['rows']} rows in {found['out']}"],
    ),
    "report": Case(
        "report job.yaml", r"runs/job/report\.html\n$", "", lambda found: [Path(found["report"]).name]
    ),
    "diff": Case(
        "diff job.yaml runs/large --field parsed.label --truth gold_label --limit 1",
        r"job, large: \d+ of 29 rows differ",
        "that differ; --limit shows more",
        lambda found: [
            f"{found['rows_changed']} of {found['rows_ok_in_all']} rows differ",
            *(f"{run['truth']['accuracy']:.1%}" for run in found["runs"]),
            found["examples"][0]["row_id"],
        ],
    ),
    "reparse": Case(
        'reparse job.yaml --dry-run --set \'schema={"required":["more"]}\'',
        "job: 30 stored answers would be read by the new schema",
        "reading my.jsonl as it was asked",
        lambda found: [
            f"{found['reread']} stored answers",
            f"{found['failed']} rows: {found['failed'] - found['now_failed']} as before",
            *(f"{reason['rows']} {reason['error_type']}" for reason in found["reasons"]),
        ],
    ),
    "stored list": Case(
        "stored list job.yaml --limit 1",
        r"chatcmpl-\w+  20\S+Z  gpt-4\.1-mini  T-0007  \w",
        "1 shown, there may be more: --limit N lists so many",
        lambda found: [found[0]["id"], found[0]["model"], found[0]["metadata"]["batchrun_row"]],
        in_lines=True,
    ),
    "stored get": Case(
        "stored get job.yaml chatcmpl-123",
        r"chatcmpl-\w+\n  assistant\n    \w",
        "",
        lambda found: [found["model"], *found["metadata"].values()],
    ),
    "stored messages": Case(
        "stored messages job.yaml chatcmpl-123",
        "  system\n    Be brief.\n  user\n    ask 0\n",
        "",
        lambda found: [text for message in found for text in (message["role"], message["content"])],
        in_lines=True,
    ),
    "stored update": Case(
        "stored update job.yaml chatcmpl-123 --metadata reviewed=yes --metadata topic=",
        r"chatcmpl-\w+\n  batchrun_run ",
        "",
        lambda found: found["metadata"].values(),
    ),
    "stored delete": Case(
        "stored delete job.yaml chatcmpl-123 --yes",
        "1 stored completion deleted at openai\n$",
        "",
        lambda found: [f"{found['deleted']} stored completion"],
    ),
    "stored export": Case(
        "stored export job.yaml stored.parquet --limit 1",
        "",
        "1 row in stored.parquet",
        lambda found: [f"{found['rows']} row in {found['out']}"],
    ),
    "init": Case(
        "init my.csv --task classify",
        r"jobs/my\.yaml\n$",
        "Next:",
        lambda found: ["jobs/my.yaml", f"rows are named by {found['id']}", *found["texts"]],
    ),
    "gc": Case(
        "gc job.yaml", "job: would drop nothing, keep 30", "", lambda found: [f"keep {found['kept']}"]
    ),
    "schema": Case(
        "schema", r"{\n", "", lambda found: [f'"{key}"' for key in found["properties"]], is_json=True
    ),
}
"""One for each verb but `simulate`, which serves until it is stopped."""

VERBS = sorted(CASES)


@contextlib.contextmanager
def copied(runs: Path, into: Path, case: Case) -> Iterator[Path]:
    """A folder of its own for one command, with a submit under way where it needs one."""
    folder = Path(shutil.copytree(runs, into, symlinks=True))
    needs_submit, paused = case.going
    with waiting(folder, paused=paused) if needs_submit else contextlib.nullcontext():
        yield folder


def ended(runs: Path, into: Path, case: Case, *more: str) -> Ended:
    with copied(runs, into, case) as folder:
        return batchrun(*words_of(case.words, folder), *more, cwd=folder)


def test_every_verb_is_here() -> None:
    """A new one has to be looked at, too."""
    assert {*CASES, "simulate"} == set(commands())


@pytest.mark.long
@pytest.mark.parametrize("verb", VERBS)
def test_lines_fit_a_terminal(runs: Path, tmp_path: Path, verb: str) -> None:
    """None is wider than 80 columns, but for a path or a command line that must stay whole."""
    case = CASES[verb]
    with copied(runs, tmp_path / "copy", case) as folder:
        code, written = here_on_a_terminal(words_of(case.words, folder), folder)
    lines = lines_seen(written)
    assert code == 0, lines
    assert any(lines)
    wide = [line for line in lines if cell_len(line) > WIDTH and max(map(len, line.split())) < UNBROKEN]
    assert case.is_json or wide == []


@pytest.mark.long
@pytest.mark.parametrize("verb", VERBS)
def test_colours_can_be_done_without(runs: Path, tmp_path: Path, verb: str) -> None:
    """NO_COLOR leaves no style, and a dumb terminal gets nothing but text."""
    case = CASES[verb]
    with copied(runs, tmp_path / "plain", case) as folder:
        words = words_of(case.words, folder)
        assert not STYLE.search(here_on_a_terminal(words, folder, NO_COLOR="1")[1])
    with copied(runs, tmp_path / "dumb", case) as folder:
        words = words_of(case.words, folder)
        assert "\x1b" not in here_on_a_terminal(words, folder, TERM="dumb")[1]


@pytest.mark.long
@pytest.mark.parametrize("verb", VERBS)
def test_without_a_terminal(runs: Path, tmp_path: Path, verb: str) -> None:
    """Data on standard output, the rest on standard error; no escape sequences, and no line of blanks."""
    case = CASES[verb]
    found = ended(runs, tmp_path / "copy", case)
    assert found.code == 0, found.err
    assert re.match(case.out, found.out) if case.out else found.out == ""
    assert case.err in found.err if case.err else found.err == ""
    written = found.out + found.err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", written)
    assert [line for line in written.splitlines() if line != line.rstrip()] == []


@pytest.mark.long
@pytest.mark.parametrize("verb", VERBS)
def test_json_says_what_the_text_says(runs: Path, tmp_path: Path, verb: str) -> None:
    """One value on one line, or a line for each row; on standard error, if anything, lines of JSON."""
    case = CASES[verb]
    text, found = ended(runs, tmp_path / "text", case), ended(runs, tmp_path / "json", case, "--json")
    assert found.code == text.code == 0, found.err
    assert case.in_lines or found.out.count("\n") == 1
    assert all(json.loads(line) for line in found.err.splitlines())
    facts = list(case.facts(found.lines if case.in_lines else found.json))
    assert facts
    assert [fact for fact in facts if fact not in text.out + text.err] == []


def test_rows_are_data(runs: Path) -> None:
    """`export` without --out: standard output holds the rows, standard error nothing."""
    found = batchrun("export", "job.yaml", cwd=runs)
    assert (found.code, found.err, len(found.lines)) == (0, "", ROWS)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_simulator_says_where_it_is(runs: Path, options: list[str]) -> None:
    """On standard error, for people; it ends with Ctrl-C."""
    with serving(["simulate", *options], runs) as said:
        assert re.fullmatch(r"serving http://127\.0\.0\.1:\d+/v1 until Ctrl-C\n", said)
