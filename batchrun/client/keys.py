"""A key that a command gives, and gives anew when the server refuses the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from batchrun.client.hiding import Hidden
from batchrun.client.key_command import KeyCommand
from batchrun.errors import UsageError

_REMEMBERED = 32
"""Keys that are still hidden in answers: no call is under way for as long as 32 of them last."""


def key_header(name: str, key: str) -> dict[str, str]:
    """The header that carries `key`: a bearer token in authorization (RFC 6750, 2.1), else the key alone."""
    return {name: f"Bearer {key}" if name == "authorization" else key}


class CommandKey:
    """The key that `command` gave last, which was `first` at the start, sent in `header` (lower case).

    Shared by all calls to an endpoint. `say` is told why the command gave none.
    """

    def __init__(self, command: KeyCommand, first: str, *, header: str, say: Callable[[str], None]) -> None:
        self._command = command
        self._header = header
        self._say = say
        self._running = anyio.Lock()
        self._given = deque([first], maxlen=_REMEMBERED)
        self._failed: int | None = None
        self.number = 0
        """How often it has been renewed."""
        self.hidden = Hidden(self._given)
        """This key and those before it, as they would stand in an answer."""

    def __repr__(self) -> str:
        return f"CommandKey({self._command!r}, number={self.number})"

    @property
    def headers(self) -> dict[str, str]:
        """What carries it."""
        return key_header(self._header, self._given[-1])

    async def renew(self, refused: int) -> bool:
        """Run the command because key number `refused` was refused; whether it may be tried again.

        Once for all calls that were refused with the same key: the first runs it, the others wait for
        that. One that comes when there is a newer key already need not wait. What fails, or gives the same
        key, is not run again for this key. When the caller that runs it is cancelled, the next one does.
        """
        async with self._running:
            if self.number == refused and self._failed != refused:
                try:
                    key = await self._command.run()
                except UsageError as error:
                    self._failed = refused
                    self._say(str(error))
                else:
                    if key == self._given[-1]:
                        self._failed = refused
                        return False
                    self._given.append(key)
                    self.hidden = Hidden(self._given)
                    self.number += 1
            return self.number != refused
