"""A library that is loaded in a thread that never ends."""

from __future__ import annotations

import importlib
import sys
import threading


def load_to_stay(name: str) -> None:
    """Load a library whose allocator takes the thread that loads it for the one that outlives all others.

    pyreqwest (0.15) has one (mimalloc): where that thread has ended, the next client that is built in another
    one crashes the process. So outside the main thread a thread of its own loads it, and waits.
    """
    if name in sys.modules or threading.current_thread() is threading.main_thread():
        return  # whoever imports it next does so here
    loaded = threading.Event()

    def stay() -> None:
        try:
            importlib.import_module(name)
        finally:  # where it cannot be loaded, whoever imports it next is told why
            loaded.set()
        threading.Event().wait()

    threading.Thread(target=stay, name=f"batchrun {name}", daemon=True).start()
    loaded.wait()
