"""Why rows failed, and what to do about it, in `submit`, `status` and a step summary."""

from __future__ import annotations

import re

import click
from rich.console import Console

from batchrun.cli import cli
from batchrun.cli.failures import REMEDIES, tell_failures
from batchrun.outcome import ERROR_TYPES, NEVER_SENT, PASSING
from tests.cli.conftest import NewJob
from tests.commands import batchrun
from tests.instructions import tells_what_to_do


def told(errors: dict[str, int], examples: dict[str, tuple[str, str]]) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        tell_failures(console, errors, examples)
    return [line.strip() for line in capture.get().splitlines()]


def test_every_type_of_error_has_its_remedy() -> None:
    """And it is an instruction."""
    assert set(REMEDIES) == set(ERROR_TYPES)
    assert [kind for kind, remedy in REMEDIES.items() if not tells_what_to_do(remedy)] == []


def test_a_remedy_is_one_that_works() -> None:
    """Rows that run again by themselves need no option; the others are given one that `submit` has."""
    submit = cli.get_command(click.Context(cli), "submit")
    assert submit is not None
    options = {name for parameter in submit.params for name in parameter.opts}
    for kind, remedy in REMEDIES.items():
        assert set(re.findall(r"--[a-z-]+", remedy)) <= options
        by_itself = kind in PASSING | NEVER_SENT
        assert by_itself == ("--" not in remedy), kind
        assert by_itself or f"--retry-failed={kind}" in remedy or kind == "truncated"


def test_the_three_most_common_are_explained() -> None:
    """Each with a row; the others are counted."""
    errors = {"refusal": 9, "server": 5, "timeout": 3, "render": 2, "quota": 1}
    examples = {"refusal": ("r1", "I will not"), "server": ("r2", "")}
    assert told(errors, examples) == [
        "failed      9 refusal, for example r1: I will not",
        REMEDIES["refusal"],
        "failed      5 server, for example r2:",
        REMEDIES["server"],
        "failed      3 timeout",
        REMEDIES["timeout"],
        "and 2 render, 1 quota",
    ]


def test_submit_and_status_say_what_to_do(new_job: NewJob) -> None:
    """In the same words."""
    job = new_job(8)
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    status = batchrun("status", "job.yaml", cwd=job.folder)
    for kind in ("refusal", "invalid_request"):
        assert f"              {REMEDIES[kind]}\n" in ended.err
        assert f"              {REMEDIES[kind]}\n" in status.out


def test_rows_that_were_cut_off_are_asked_again_with_more_room(new_job: NewJob) -> None:
    """As their remedy says; the other rows keep their answers."""
    job = new_job(6, fail_on=["truncated"], request={"max_completion_tokens": "{{ 3 if n < 2 else 300 }}"})
    first = batchrun("submit", "job.yaml", "--json", cwd=job.folder).json
    assert (first["ok"], first["errors"]["truncated"]) == (3, 2)
    job.edit(request={"max_completion_tokens": 400})
    ended = batchrun("submit", "job.yaml", "--keep-changed", "--json", cwd=job.folder).json
    assert (ended["ok"], ended["stale"], ended["submit"]["rows"]) == (5, 3, 3)
