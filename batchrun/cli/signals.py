"""What ends a command from outside: signals, as exit codes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""Of SIGHUP, too: who reads it wants to know that the command was stopped."""


class Terminated(SystemExit):
    """A SIGTERM or SIGHUP came. As SystemExit it passes event loops, like KeyboardInterrupt."""


@contextmanager
def terminable(*, last: bool) -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise Terminated, also where SIGTERM's default is to be ignored: in a
    container, as process 1. A running engine handles them by itself.

    `last`: the process ends after the block. What a signal could still do then is to replace the exit code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate)}
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup means to outlive the terminal
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _terminate)
    try:
        yield
    except KeyboardInterrupt:  # the second, while the first was being told of
        sys.exit(128 + signal.SIGINT)
    finally:
        ended = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN, signal.SIGHUP: signal.SIG_IGN}
        for number, handler in (ended if last else before).items():
            signal.signal(number, handler)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated(EXIT_CODE)
