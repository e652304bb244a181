"""Signals that come while a command works, outside an engine."""

from __future__ import annotations

import signal
import time

import pytest

from batchrun.cli.signals import EXIT_CODES, stoppable


class _Dying:
    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


def _lose(number: signal.Signals) -> None:
    _Dying(number)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_python_would_lose_comes_again(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a handler raises in a `__del__` is printed and forgotten; the command ends nevertheless."""
    with pytest.raises(SystemExit) as end, stoppable(last=False) as received:
        _lose(number)
    assert (end.value.code, {*received}) == (EXIT_CODES[number], {number})
    assert capsys.readouterr().err == ""


def test_afterwards_the_signals_do_what_they_did() -> None:
    """A program that calls the command line as a function keeps its own handlers."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with stoppable(last=False):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
