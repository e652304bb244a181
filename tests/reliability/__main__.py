"""The long reliability runs: `uv run python -m tests.reliability`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.reliability.kills import kill_and_resume

with tempfile.TemporaryDirectory() as folder:
    tally = kill_and_resume(Path(folder), rows=5_000, kills=20)
    sys.stdout.write(f"{tally}\n")
    sys.exit(bool(tally.lost or tally.duplicated or tally.asked_again))
