"""What signals do to a running engine: the first stops sending, the second gives up the calls under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import anyio

from batchrun.summary import Stop, StopKind

_LOOK = 0.2
"""Seconds between two looks whether the user has asked to stop."""


async def obey_signals(stop: Callable[[Stop], None], interrupts: Callable[[], int] | None = None) -> None:
    """Call `stop` for each SIGINT, SIGTERM and SIGHUP; the second and later ones are `at_once`.

    In another thread than the main one no signal comes: there `interrupts` says how often the user has asked
    to stop. Afterwards the signals do what they did before: the event loop alone would leave SIGTERM to the
    system, which kills at once, or in a container, as process 1, not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        if interrupts is not None:
            await _obey(interrupts, stop)
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


async def _obey(interrupts: Callable[[], int], stop: Callable[[Stop], None]) -> None:
    obeyed = 0
    while True:
        while obeyed < interrupts():
            stop(Stop("SIGINT", "interrupted by SIGINT", at_once=obeyed > 0))
            obeyed += 1
        await anyio.sleep(_LOOK)
