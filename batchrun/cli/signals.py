"""What ends a command from outside: signals, as exit codes."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
"""Of SIGHUP as of SIGTERM: who reads it wants to know that the command was stopped."""

_SOON = 0.01
"""Seconds, enough for a callback of the interpreter to have ended."""


class Signalled(KeyboardInterrupt):
    """A signal came. As KeyboardInterrupt it passes event loops, and what catches a user's SystemExit.

    A class of its own: Python marks a process whose KeyboardInterrupt, itself, passes an `exec` as one to
    be killed by SIGINT at its end, though the exception is caught further out; dataclasses are made so.
    """


Received = list[signal.Signals]
"""The signals that came, in turn: what one raises may come out as something else, as from pydantic's core."""


@contextmanager
def stoppable(*, last: bool) -> Iterator[Received]:
    """Let SIGINT, SIGTERM and SIGHUP raise Signalled, also where SIGTERM's default is to be ignored: in a
    container, as process 1. A running engine handles them by itself.

    `last`: the process ends after the block. What a signal could still do then is to replace the exit code.
    """
    received: Received = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        raise Signalled

    # nohup means to outlive the terminal, and a shell's background job its Ctrl-C
    obeyed = [number for number in EXIT_CODES if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in {*obeyed, signal.SIGTERM}}
    sys.unraisablehook, tell = partial(_once_more, received, sys.unraisablehook), sys.unraisablehook
    try:
        yield received
    except Signalled:  # the second, while the first was being told of
        sys.exit(EXIT_CODES[received[0]])
    finally:
        sys.unraisablehook = tell
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if last else handler)


def _once_more(received: Received, tell: Callable[[Any], object], unraisable: Any) -> None:
    """Where what a signal raised was lost, as in a weak reference's callback, let it come again."""
    if not isinstance(unraisable.exc_value, Signalled):
        tell(unraisable)
        return
    try:
        threading.Timer(_SOON, _thread.interrupt_main, [received[-1]]).start()
    except Signalled:  # it came while the timer still started, as on a busy machine: lost again, here
        _once_more(received, tell, unraisable)
