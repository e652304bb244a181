"""An endpoint that several equal servers stand behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from batchrun.client.replicas import Replicas, Result
from batchrun.outcome import Exchange, NoResponse, Response

WORTH_SAYING = 4.0
"""Seconds aside from which a replica is called down: it has failed three times by then, over 3 s. What comes
back sooner shows in the attempts of a few rows only."""

_RESTARTING = frozenset({502, 503})
"""What a proxy, or a server that still loads its model, answers with while there is no service."""


class EndpointClient(Protocol):
    """What makes the calls to one endpoint."""

    @property
    def has_spare(self) -> bool:
        """Whether another server stands in for one that fails: then a failure is not the endpoint's."""
        ...

    async def call(self, body: bytes, *, timeout: float | None = None) -> Exchange:
        """Make one call, with at most `timeout` seconds for it; never raises for what a server does."""
        ...

    def hide_text(self, text: str) -> str:
        """`text` without the keys that are sent, those that a command gave included."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class ReplicaSet:
    """Sends each call to one of `clients` (by base URL), as `Replicas` chooses.

    A failed call is not repeated here: it is an attempt of its row, whose next one goes elsewhere. `say` is
    told when a replica stays down, and when it serves again.
    """

    def __init__(
        self,
        clients: Mapping[str, EndpointClient],
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls = list(clients)
        self._clients = list(clients.values())
        self._say = say
        self._clock = clock
        self._replicas = Replicas(len(clients))
        self._said: set[int] = set()

    @property
    def has_spare(self) -> bool:
        """Whether any replica serves."""
        return any(self._replicas.aside(at) == 0 for at in range(len(self._clients)))

    async def call(self, body: bytes, *, timeout: float | None = None) -> Exchange:
        """Make one call to one replica."""
        choice = self._replicas.choose(self._clock())
        result: Result | None = None
        try:
            exchange = await self._clients[choice.replica].call(body, timeout=timeout)
            result = _result(exchange)
        finally:
            self._replicas.ended(choice, self._clock(), result)
        self._tell(choice.replica, exchange)
        return exchange

    def hide_text(self, text: str) -> str:
        """`text` without any replica's keys."""
        for client in self._clients:
            text = client.hide_text(text)
        return text

    async def aclose(self) -> None:
        """Close the connections to all replicas."""
        for client in self._clients:
            await client.aclose()

    def _tell(self, at: int, exchange: Exchange) -> None:
        aside = self._replicas.aside(at)
        if at in self._said and not aside:
            self._said.discard(at)
            self._say(f"{self._urls[at]} serves again")
        elif at not in self._said and aside >= WORTH_SAYING:
            self._said.add(at)
            serving = sum(not self._replicas.aside(other) for other in range(len(self._urls)))
            self._say(
                f"{self._urls[at]} is left out, and tried again now and then: {_reason(exchange)}. "
                f"{serving} of {len(self._urls)} replicas serve"
            )


def _result(exchange: Exchange) -> Result | None:
    match exchange:
        case Response():
            return "failed" if exchange.status in _RESTARTING else "ok"
        case NoResponse(type="connection", sent=False):
            return "unreachable"
        case NoResponse(type="timeout", sent=False, latency=0.0):
            return None  # no time was left for it
        case _:
            return "failed"


def _reason(exchange: Exchange) -> str:
    return exchange.message if isinstance(exchange, NoResponse) else f"it answers {exchange.status}"
