"""`--help`: what it says fits the terminal, and every command line in it does what is said."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrun.cli.help import Explained
from batchrun.cli.signals import EXIT_CODES as SIGNALLED
from batchrun.errors import BatchrunError
from batchrun.summary import EXIT_CODES as STOPPED
from tests.cli.verbs import commands
from tests.cli.workspace import serving, waiting, words_of
from tests.commands import batchrun

VERBS = sorted(commands())
GROUPS = sorted({verb.split()[0] for verb in VERBS if " " in verb})


def verb_of(name: str) -> Explained:
    command = commands()[name]
    assert isinstance(command, Explained), f"{name} has no examples: click.command(cls=Explained, examples=…)"
    return command


EXAMPLES = [(verb, line) for verb in VERBS for _sentence, line in verb_of(verb).examples]


@pytest.mark.long
@pytest.mark.parametrize(("verb", "line"), EXAMPLES)
def test_every_example_runs(workspace: Path, verb: str, line: str) -> None:
    """As it is written, in a folder with a job and its runs; a `>` is the shell's."""
    words = words_of(line, workspace)
    assert words[: 1 + len(verb.split())] == ["batchrun", *verb.split()]
    words, into = (words[1:-2], words[-1]) if ">" in words else (words[1:], None)
    if verb == "simulate":
        with serving(words, workspace) as said:
            assert said.startswith("serving http://127.0.0.1:")
        return
    needs_submit = verb in ("pause", "resume")
    with waiting(workspace, paused=verb == "resume") if needs_submit else contextlib.nullcontext():
        ended = batchrun(*words, cwd=workspace)
    refused = ended.code == 1 and verb in ("submit", "reparse")  # a row of this run was
    assert ended.code == 0 or refused, ended.err
    assert not ended.err.startswith("error")
    if into:
        (workspace / into).write_text(ended.out, encoding="utf-8")
    written = [words[at + 1] for at, word in enumerate(words) if word == "--out"]
    assert all((workspace / name).stat().st_size for name in [*written, *([into] if into else [])])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_some_examples(verb: str) -> None:
    """From two to four, each with a sentence that says what it is for."""
    examples = verb_of(verb).examples
    assert 2 <= len(examples) <= 4
    assert all(sentence.endswith(":") and len(sentence) > 5 for sentence, _line in examples)


@pytest.mark.parametrize("verb", ["", *GROUPS, *VERBS])
def test_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str) -> None:
    """And at any width a command line of an example stays on one line."""
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        ended = batchrun(*verb.split(), "--help", cwd=tmp_path)
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert columns != 80 or [line for line in lines if len(line) > 80] == []
        examples = verb_of(verb).examples if verb in VERBS else ()
        assert [line for _sentence, line in examples if f"    {line}" not in lines] == []


def test_every_verb_stands_in_the_help_once(tmp_path: Path) -> None:
    """Below the time of its use; what has none is a tool."""
    lines = batchrun("--help", cwd=tmp_path).out.splitlines()
    heads = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert heads == ["Options:", "Before:", "During:", "After:", "Tools:"]
    told = [line.split()[0] for line in lines[lines.index("Before:") :] if line.startswith("  ")]
    verbs = sorted({verb.split()[0] for verb in VERBS})
    assert sorted(told[: len(verbs)]) == verbs


def test_submit_explains_every_exit_code() -> None:
    """Each that it can end with, and no other."""

    def below(kind: type[BatchrunError]) -> Iterator[int]:
        yield kind.exit_code
        for more in kind.__subclasses__():
            yield from below(more)

    codes = {0, 1, *below(BatchrunError), *STOPPED.values(), *map(int, SIGNALLED.values())}
    told = {int(code) for codes in verb_of("submit").exit_codes for code in codes.split(", ")}
    assert told == codes
