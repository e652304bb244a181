"""The tests, and the suites on reliability and speed.

Images of containers like to set PYTHONDONTWRITEBYTECODE. Then each process compiles polars and all else anew,
which takes longer than most tests: here they share what is compiled, away from the code.
"""

import os
import sys
from pathlib import Path

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(
        Path(__file__).parents[1] / ".pytest_cache" / "bytecode"
    )
