"""README.md cannot rot: its commands, outputs, options, keys, columns and exit codes are the program's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import batchrun
from batchrun.cli import cli
from batchrun.cli.signals import EXIT_CODES as SIGNALLED
from batchrun.errors import BatchrunError
from batchrun.job import PRESETS, job_schema
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.summary import EXIT_CODES as STOPPED
from tests.runs import run_batchrun

ROOT = Path(batchrun.__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERBS = cli.list_commands(click.Context(cli))
CODE = re.compile(r"`([^`]+)`")


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def table(text: str, nth: int = 0) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [line.strip("|\n").split(" | ") for line in tables[nth].splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def block(begin: str) -> str:
    """The fenced block that begins so."""
    found = [text for text in re.findall(r"```\w*\n(.*?)```", README, re.DOTALL) if text.startswith(begin)]
    assert len(found) == 1, begin
    return str(found[0])


def commands() -> Iterator[tuple[str, str]]:
    """Each verb of the table of commands, and its row."""
    for cells in table(section("Commands")):
        for spelled in CODE.findall(cells[0]):
            yield spelled.split()[0], " | ".join(cells)


def options(verb: str) -> set[str]:
    """The options of a command; of a group those of all its commands."""
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    each = command.commands.values() if isinstance(command, click.Group) else [command]
    options = (option for one in each for option in one.params)
    names = (name for option in options for name in (*option.opts, *option.secondary_opts))
    return {name for name in names if name.startswith("--")}


def test_each_verb_has_its_row() -> None:
    """And there is no row of another."""
    assert sorted(verb for verb, _row in commands()) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_options_that_a_row_names_are_there(verb: str) -> None:
    """Those that begin with the row's verb, not those of another verb's command line."""
    row = dict(commands())[verb]
    told = {option for code in CODE.findall(row) for option in re.findall(r"^(--[a-z-]+)", code)}
    assert told <= options(verb), f"{verb} has no {told - options(verb)}"


def test_the_commands_of_a_group_are_told() -> None:
    """Each by its name in the group's row, and no other."""
    group = cli.get_command(click.Context(cli), "stored")
    assert isinstance(group, click.Group)
    row = dict(commands())["stored"]
    assert {code.split()[0] for code in CODE.findall(row.partition(" | ")[2])} >= set(group.commands)


def test_every_option_of_submit_is_told() -> None:
    """Somewhere in the text."""
    missing = {option for option in options("submit") if not re.search(rf"{option}\b", README)}
    assert not missing


def test_the_exit_codes_are_those_of_the_program() -> None:
    """Each code that a command can end with, and no other."""

    def below(kind: type[BatchrunError]) -> Iterator[int]:
        yield kind.exit_code
        for more in kind.__subclasses__():
            yield from below(more)

    codes = {0, 1, *below(BatchrunError), *STOPPED.values(), *map(int, SIGNALLED.values())}
    told = {int(code) for cells in table(section("Commands"), 1) for code in cells[0].split(", ")}
    assert told == codes


def test_the_job_files_keys_are_told() -> None:
    """Each key of the top level has its row."""
    told = {key for cells in table(section("The job file")) for key in CODE.findall(cells[0])}
    assert told == set(job_schema()["properties"])


def test_the_presets_are_told() -> None:
    """By their names."""
    row = next(cells for cells in table(section("The job file")) if "`endpoints`" in cells[0])
    known = row[1].partition("known: ")[2].split(", ")
    assert sorted(known) == sorted(PRESETS)


def test_the_columns_are_those_of_the_results() -> None:
    """Each has its row."""
    told = {name for cells in table(section("What comes out")) for name in CODE.findall(cells[0])}
    assert told == set(RESULT_SCHEMA.names)


def test_each_job_is_told_and_each_link_leads_somewhere() -> None:
    """The jobs that come along, and every file that the text links to."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    titles = re.findall(r"^## (.+)$", README, re.M)
    anchors = {"#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert [link for link in links if link not in anchors and not (ROOT / link).exists()] == []
    jobs = {path.name for path in (ROOT / "jobs").glob("*.yaml")} - {"quickstart.yaml"}
    assert jobs <= {Path(link).name for link in links}


def test_the_first_command_prints_what_is_shown(tmp_path: Path) -> None:
    """Line by line, with other figures of time; then the snippet that reads its results runs."""
    for name in ("jobs", "sample_data"):
        shutil.copytree(ROOT / name, tmp_path / name)
    command = block("pip install uv && uv run batchrun").strip().partition("uv run batchrun ")[2]
    ended = run_batchrun(*command.split(), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    shown, written = block("quickstart: finished").splitlines(), ended.stderr.splitlines()[-7:]
    assert [masked(line) for line in written] == [masked(line) for line in shown]
    names: dict[str, Any] = {}
    snippet = block("import polars as pl").replace("runs/quickstart", f"{tmp_path}/runs/quickstart")
    exec(snippet.replace("answers.select", "chosen = answers.select"), names)
    assert names["chosen"].height == 400


def test_the_python_snippet_runs(tmp_path: Path) -> None:
    """As it stands, beside the jobs that come along."""
    for name in ("jobs", "sample_data"):
        shutil.copytree(ROOT / name, tmp_path / name)
    words = [sys.executable, "-c", block("import batchrun\n")]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert batchrun.scan_results(tmp_path / "runs" / "five").collect().height == 5


def masked(line: str) -> str:
    """A line without what differs from run to run: times and rates."""
    return re.sub(r"\d+(\.\d+)? (m?s|rows/s)\b", r"# \2", line).replace("# ms", "# s")
