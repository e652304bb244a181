"""Keys in what a command says last: a user's module or a library may put one into its error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

_KEY_ENV = re.compile(r"api_key_env[\"']?\s*[:=]\s*[\"']?([A-Za-z_][A-Za-z0-9_]*)")
_MOST = 4_000_000
_KEY_NAME = re.compile(r"key|token|secret|passw|credential|authorization", re.IGNORECASE)


def without_keys(text: str, words: Sequence[str]) -> str:
    """`text` without the keys that a command with these words may know.

    Those are what `--env-file` holds, and variables whose name or value is that of a key, or that a preset or
    a file which the words name gives as an `api_key_env`.
    """
    from batchrun.client.hiding import Hidden  # not at the start: most commands never need it

    return Hidden(_known(words)).hide_text(text)


def _known(words: Sequence[str]) -> Iterator[str]:
    from batchrun.errors import UsageError
    from batchrun.job import PRESETS, read_env_file
    from batchrun.job.sections.address import looks_like_key

    named = {name for word in words for name in _named_in(word)}
    named.update(preset.api_key_env or "" for preset in PRESETS.values())
    for name, value in os.environ.items():
        if name in named or _KEY_NAME.search(name) or looks_like_key(value):
            yield value
    for path in filter(_is_file, _env_files(words)):
        with suppress(UsageError):  # it was told already, or is about to be
            yield from read_env_file(path).values()


def _named_in(word: str) -> Iterator[str]:
    """The variables that a job file takes keys from; also of one with mistakes, or given by `--set`."""
    yield from _KEY_ENV.findall(word)
    if _is_file(word):
        with suppress(OSError), Path(word).open(encoding="utf-8", errors="replace") as file:
            yield from _KEY_ENV.findall(file.read(_MOST))


def _is_file(word: str | Path) -> bool:
    """Whether it can be read to its end at once: a pipe waits for somebody who writes to it."""
    return os.path.isfile(word)  # noqa: PTH113 - gives no error for a name that is too long


def _env_files(words: Sequence[str]) -> Iterator[Path]:
    """Those of the options, and of the variables that stand for them."""
    for before, word in pairwise(["", *words, ""]):
        option, _, path = before.partition("=")
        if option == "--env-file":
            yield Path(path or word)
    for name, value in os.environ.items():
        if name.startswith("BATCHRUN_") and name.endswith("_ENV_FILE") and value:
            yield Path(value)
