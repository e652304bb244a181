"""The bearer tokens that an endpoint insists on, which may stop working."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from batchrun.simulator.config import Key, SimulatorConfig


class Keys:
    """Knows the token that is good now, and counts what it is used for."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._keys: Sequence[Key] = config.api_keys
        if config.api_key is not None:
            self._keys = (Key(key=config.api_key),)
        self._place = 0
        self._calls = 0

    def take(self, authorization: str) -> bool:
        """Whether the header is good for one more call, which then counts."""
        if not self._keys:
            return True
        if self._place == len(self._keys):
            return False
        good = self._keys[self._place]
        if not _fits(authorization, good.key):
            return False
        self._calls += 1
        if self._calls == good.calls:
            self._place, self._calls = self._place + 1, 0
        return True


def _fits(authorization: str, key: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), key.encode())
