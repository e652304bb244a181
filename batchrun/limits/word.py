"""The server's own word of what is left, taken one call at a time. Pure.

While it is not clear over how long a stretch a server counts, the longest is assumed, and where few calls
fill a limit the run would stand still for most of it, with no answer to learn from. But when every call has
been answered, what the server said to be left is left: nobody has drawn on it since. So one call may go by
that, and its answer tells how soon the others come back.
"""

from __future__ import annotations

from collections.abc import Iterable

from batchrun.limits.headers import Unit

_Key = tuple[Unit, float | None]


class Word:
    """What was said of each limit since nothing was last under way."""

    __slots__ = ("_left", "_sent", "_told")

    def __init__(self) -> None:
        self._sent = self._told = 0
        self._left: dict[_Key, int] = {}

    def sending(self, under_way: int) -> None:
        """A call is being sent, beside so many others."""
        if not under_way:
            self._sent = self._told = 0
            self._left.clear()
        self._sent += 1

    def answered(self, left: Iterable[tuple[_Key, int]]) -> None:
        """A call was answered, and the server said what is left.

        The least holds: the answer to the call that arrived last knows of all the others.
        """
        self._told += 1
        for key, amount in left:
            self._left[key] = min(self._left.get(key, amount), amount)

    def allows(self, needs: Iterable[tuple[_Key, int]]) -> bool:
        """Whether nothing is under way, every call was answered with a word, and all `needs` are left."""
        if not self._sent or self._told < self._sent:
            return False
        return all(self._left.get(key, -1) >= amount for key, amount in needs)
