"""`python -m tests.reliability.small VERB …` is `batchrun VERB …` with small parts.

A job of 200 rows seals, rotates its journal and publishes several parts, as one of 20,000 does otherwise.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from unittest.mock import patch

from batchrun import gc
from batchrun.cli import main
from batchrun.engines import control
from batchrun.run_folder.results import bucket, publish

SEAL_ROWS = 40
BUCKET = 50


@contextmanager
def small_parts() -> Iterator[None]:
    """Small parts in this process, for a while."""
    with (
        patch.object(control, "SEAL_ROWS", SEAL_ROWS),
        patch.object(gc, "FULL", SEAL_ROWS * 2),
        patch.object(bucket, "BUCKET", BUCKET),
        patch.object(publish, "BUCKET", BUCKET),
    ):
        yield


def run_here(*words: str) -> tuple[int, str]:
    """Run a command in this process: its exit code, 70 wherever there was a traceback, and what it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), small_parts():
        try:
            main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:  # a panic of polars is no Exception
            return 70, repr(error)
    return 70 if "Traceback" in said.getvalue() else code, said.getvalue()


if __name__ == "__main__":
    with small_parts():
        main(sys.argv[1:])
