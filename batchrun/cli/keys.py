"""Keys in what a command says last: a user's module or a library may put one into its error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

_KEY_NAME = re.compile(r"key|token|secret|passw|credential|authorization", re.IGNORECASE)


def without_keys(text: str, words: Sequence[str]) -> str:
    """`text` without the keys that a command with these words may know.

    Those are what `--env-file` holds, and variables whose name or value is that of a key.
    """
    from batchrun.client.hiding import Hidden  # not at the start: most commands never need it

    return Hidden(_known(words)).hide_text(text)


def _known(words: Sequence[str]) -> Iterator[str]:
    from batchrun.errors import UsageError
    from batchrun.job import read_env_file
    from batchrun.job.address import looks_like_key

    for name, value in os.environ.items():
        if _KEY_NAME.search(name) or looks_like_key(value):
            yield value
    for before, word in pairwise(["", *words, ""]):
        option, _, path = before.partition("=")
        if option == "--env-file":
            try:
                yield from read_env_file(Path(path or word)).values()
            except UsageError:
                continue  # it was told already, or is about to be
