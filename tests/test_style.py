"""How the code is cut: functions that fit a screen, modules that are read in one sitting."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.style import ROOT, Style, measured, table

BOUNDARIES = {
    "cli/__init__.py:_exit_code": "the command line: whatever happens becomes a message and an exit code",
    "functions/calling.py:_called": "a user's function may raise anything: the model is told",
    "functions/threads.py:work": "a thread: raised again where its result is awaited",
    "library.py:run": "a thread: raised again where it is joined",
}
"""Functions that catch every exception and go on, and why they may."""


@pytest.fixture(scope="module")
def house() -> Style:
    """The package as it stands."""
    return measured(ROOT / "batchrun")


def test_functions_fit_a_screen(house: Style) -> None:
    """None has more than 50 lines, half of them at most 8, 19 of 20 at most 40."""
    lines = sorted(one.lines for one in house.functions)
    assert [one for one in house.functions if one.lines > 50] == []
    assert statistics.median(lines) <= 8
    assert lines[int(0.95 * len(lines))] <= 40


def test_modules_are_read_in_one_sitting(house: Style) -> None:
    """Each is under 300 lines, half of them under 150."""
    assert [one for one in house.modules if one.lines >= 300] == []
    assert statistics.median(one.lines for one in house.modules) < 150


def test_every_function_says_what_it_returns(house: Style) -> None:
    """Inner functions too."""
    assert house.untyped == []


def test_only_boundaries_catch_every_exception(house: Style) -> None:
    """Elsewhere a handler names what it expects, or cleans up and raises again."""
    assert sorted(house.broad) == sorted(BOUNDARIES)


def test_only_the_command_line_prints(house: Style) -> None:
    """A library that prints takes the caller's terminal."""
    assert house.prints == []


CODE = '''\
def long(x):
    """Says so."""
    try:
        print(x)
    except {caught}:
        {does}

async def typed() -> None: ...
'''


@pytest.mark.parametrize(
    ("caught", "does", "is_broad"),
    [
        ("Exception", "return None", True),
        ("", "pass", True),
        ("(OSError, BaseException) as error", "return error", True),
        ("Exception", "raise", False),
        ("Exception as error", "raise ValueError from error", False),
        ("OSError", "return None", False),
    ],
)
def test_what_is_counted(tmp_path: Path, caught: str, does: str, is_broad: bool) -> None:
    """A handler is broad when it catches everything and does not raise; functions have all their lines."""
    (tmp_path / "module.py").write_text(CODE.format(caught=caught, does=does))
    style = measured(tmp_path)
    assert style.broad == ["module.py:long"] * is_broad
    assert [(one.place, one.lines) for one in style.functions] == [
        ("module.py:long", 6),
        ("module.py:typed", 1),
    ]
    assert style.untyped == ["module.py:long"]
    assert style.prints == ["module.py:4"]


def test_the_table_has_a_line_for_each_figure(house: Style) -> None:
    """As `python -m tests.style` prints it."""
    drawn = table({"batchrun": house.figures(test_lines=0)}).splitlines()
    assert len(drawn) == 2 + 11
    assert len({len(line) for line in drawn}) == 1
