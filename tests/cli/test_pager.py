"""Paging: what is longer than the terminal goes through the user's pager, and nothing else does."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from batchrun.cli.pager import user_pager, write_long
from tests.cli.pseudo_terminal import read_all
from tests.runs import JobFolder

_LEFT_OUT = ("COLUMNS", "LESS", "LINES", "NO_COLOR", "PAGER")
"""Variables of whoever runs the tests: a worker of xdist has the size of a terminal of its own."""

ROWS = 40
LINES = 24


def shown(
    job: JobFolder, *words: str, shell: str = "{}", lines: int = LINES, env: Mapping[str, str] | None = None
) -> str:
    """What `show` writes to a terminal of 80 columns at which somebody sits, who keeps what is paged."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    environment = {**kept, "TERM": "xterm-256color", "PAGER": "sh -c 'cat > paged.txt'", **(env or {})}
    command = shell.format(" ".join([sys.executable, "-m", "batchrun", "show", "runs/job", *words]))
    process = subprocess.Popen(
        ["sh", "-c", command], stdin=theirs, stdout=theirs, stderr=theirs, cwd=job.folder, env=environment
    )
    os.close(theirs)
    written = bytearray()
    read_all(ours, written)
    os.close(ours)
    assert process.wait(timeout=30) == 0, written.decode()
    return written.decode()


@pytest.fixture
def paged(run: JobFolder) -> Iterator[Path]:
    """Where the pager of these tests puts what it gets."""
    path = run.folder / "paged.txt"
    yield path
    path.unlink(missing_ok=True)


def heads(text: str) -> int:
    """How many rows are shown."""
    return sum(f"r{number:06d}  " in text for number in range(ROWS))


def test_what_is_longer_than_the_screen_is_paged(run: JobFolder, paged: Path) -> None:
    """All rows of the run, with nothing left on the terminal."""
    assert shown(run) == ""
    assert heads(paged.read_text()) == ROWS


@pytest.mark.long
def test_what_fits_on_the_screen_is_not_paged(run: JobFolder, paged: Path) -> None:
    """It is simply there; on a higher terminal, so is more."""
    assert heads(shown(run, "--limit", "1")) == 1
    assert heads(shown(run, lines=2_000)) == ROWS
    assert not paged.exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "shell", "env", "rows"),
    [
        (["--no-pager"], "{}", {}, 20),
        ([], "{}", {"PAGER": "cat"}, 20),
        ([], "{}", {"PAGER": "there-is-no-such-pager"}, 20),
        ([], "{}", {"PAGER": "'"}, 20),
        ([], "{}", {"PAGER": "", "TERM": "dumb"}, 20),
        ([], "{} | cat", {}, 20),
        ([], "{} < /dev/null", {}, 20),
        (["--no-pager", "--sample", "30"], "{}", {}, 30),
        (["--no-pager", "--sample", "100"], "{}", {}, ROWS),
        (["--no-pager", "--sample", "30", "--limit", "3"], "{}", {}, 3),
        (["--json"], "{}", {}, 0),
    ],
)
def test_what_is_not_paged(
    run: JobFolder, paged: Path, words: list[str], shell: str, env: dict[str, str], rows: int
) -> None:
    """Where it is not wanted, where there is no pager, no terminal, or nobody at it."""
    assert heads(shown(run, *words, shell=shell, env=env)) == rows
    assert not paged.exists()


def test_less_shows_colours(run: JobFolder) -> None:
    """As it does for others that page: told so by LESS, unless that says something already."""
    less = run.folder / "less"
    less.write_text(f'#!/bin/sh\nprintf "%s" "$LESS" > {run.folder}/told.txt\ncat > {run.folder}/paged.txt\n')
    less.chmod(0o700)
    cases: list[tuple[dict[str, str], str, bool]] = [({}, "-R", True), ({"LESS": "-X"}, "-X", False)]
    for given, told, coloured in cases:
        shown(run, env={"PAGER": f"{less} -F", **given})
        assert (run.folder / "told.txt").read_text() == told
        assert ("\x1b[" in (run.folder / "paged.txt").read_text()) is coloured
    for name in ("less", "told.txt", "paged.txt"):
        (run.folder / name).unlink()


def test_a_pager_that_is_left_early_is_no_error(run: JobFolder) -> None:
    """Nobody reads to the end."""
    assert shown(run, env={"PAGER": "true"}) == ""


def test_rows_are_read_as_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the pager is there, no more than fill the screen."""
    asked: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(1_000):
            asked.append(number)
            yield "a line\n"

    given: list[list[str]] = []

    def read_some(texts: Iterator[str]) -> None:
        assert len(asked) == LINES
        given.append([next(texts) for _ in range(LINES + 2)])

    monkeypatch.setenv("LINES", str(LINES))
    monkeypatch.setattr("click.echo_via_pager", read_some)
    write_long(texts(), "less")
    assert (len(given[0]), len(asked)) == (LINES + 2, LINES + 2)


def test_without_a_terminal_there_is_no_pager() -> None:
    """As in cron."""
    assert user_pager() is None
