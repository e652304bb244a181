"""The labels of a stored completion: read from the command line, changed, and held to their limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from batchrun.chat.stamps import MOST_PAIRS
from batchrun.errors import UsageError

_LONGEST_KEY = 64
_LONGEST_VALUE = 512


def pairs_of(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` of each text; the value may be empty. Raises UsageError."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(
                f"--metadata {text}: there is no key and value", hint="Write --metadata KEY=VALUE."
            )
        if pairs.setdefault(key, value) != value:
            raise UsageError(f"--metadata: {key} has two values", hint="Give one of them.")
    return pairs


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a completion's metadata.

    Attributes:
        pairs: to set; one with an empty value is taken away.
        clear: whether all others are taken away, too.
    """

    pairs: Mapping[str, str]
    clear: bool = False

    def of(self, before: Mapping[str, str]) -> dict[str, str]:
        """The metadata afterwards. Raises UsageError for more than the API takes."""
        found = {**({} if self.clear else before), **self.pairs}
        after = {key: value for key, value in found.items() if value != "" or key not in self.pairs}
        if len(after) > MOST_PAIRS:
            raise UsageError(
                f"{len(after)} pairs of metadata, and a completion has at most {MOST_PAIRS}",
                hint="Take some away with --metadata KEY= (nothing after it), or all with --clear.",
            )
        return after

    def check(self) -> None:
        """Raise UsageError for a pair that is too long, or too many of them, before anything is sent."""
        for key, value in self.pairs.items():
            if len(key) > _LONGEST_KEY:
                raise UsageError(
                    f"--metadata {key}: the key has {len(key)} characters",
                    hint=f"Give keys of at most {_LONGEST_KEY} characters.",
                )
            if len(value) > _LONGEST_VALUE:
                raise UsageError(
                    f"--metadata {key}: the value has {len(value)} characters",
                    hint=f"Give values of at most {_LONGEST_VALUE} characters.",
                )
        self.of({})
