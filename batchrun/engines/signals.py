"""What signals do to a running engine: the first stops sending, the second gives up the calls under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import anyio

from batchrun.summary import Stop, StopKind


async def obey_signals(stop: Callable[[Stop], None]) -> None:
    """Call `stop` for each SIGINT, SIGTERM and SIGHUP; the second and later ones are `at_once`.

    Afterwards the signals do what they did before: the event loop alone would leave SIGTERM to the
    system, which kills at once, or in a container, as process 1, not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    obeyed = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means to outlive the terminal
        obeyed.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in obeyed}
    try:
        with anyio.open_signal_receiver(*obeyed) as received:
            told = False
            async for number in received:
                kind: StopKind = "SIGINT" if number == signal.SIGINT else "SIGTERM"
                stop(Stop(kind, f"interrupted by {signal.Signals(number).name}", at_once=told))
                told = True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
