"""A limit that may change while the endpoint runs. Pure: time is given, in seconds since the first call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchrun.simulator.limits.rules import ConcurrencyStep, RpmStep, TpmStep


class Schedule:
    """A number that holds from each of some times on."""

    def __init__(self, limit: int | Sequence[RpmStep | TpmStep | ConcurrencyStep]) -> None:
        steps = [(0.0, limit)] if isinstance(limit, int) else [(step.at, _number(step)) for step in limit]
        self._now = steps[0][1]
        self._later = steps[1:]

    def at(self, now: float) -> int:
        """The number that holds; `now` must not go back."""
        while self._later and self._later[0][0] <= now:
            self._now = self._later.pop(0)[1]
        return self._now

    def changes(self, now: float) -> Iterator[float]:
        """When it changes after `now`."""
        return (at for at, _ in self._later if at > now)


def _number(step: RpmStep | TpmStep | ConcurrencyStep) -> int:
    match step:
        case RpmStep(rpm=number) | TpmStep(tpm=number) | ConcurrencyStep(concurrency=number):
            return number
