"""The breaker: too many rows fail for good, so the run stops before it pays for more of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from batchrun.outcome import NEVER_SENT, PASSING

_RECENT = 100


class Breaker:
    """Watches the share of failed rows among those that finished last.

    `share` (0 to 1) is the largest share that is still accepted; it is judged over the last
    `max(after, 100)` finished rows, as soon as `after` rows have finished. So a run that was
    fine for a million rows stops soon after it begins to fail. Pure: the caller stops the run.
    """

    __slots__ = ("_after", "_failed", "_recent", "_share")

    def __init__(self, share: float, after: int) -> None:
        self._share = share
        self._after = after
        self._recent: deque[bool] = deque()
        self._failed = 0

    def record(self, failed: bool) -> None:
        """Count one row that has its outcome; `failed` when it failed for good."""
        if len(self._recent) == max(self._after, _RECENT):
            self._failed -= self._recent.popleft()
        self._recent.append(failed)
        self._failed += failed

    @property
    def tripped(self) -> str | None:
        """Why the run must stop, with the numbers; None while it may go on."""
        finished = len(self._recent)
        return self._why(self._failed, finished, "last") if finished >= self._after else None

    def fails_canary(self, failed: int, finished: int, reasons: Iterable[str]) -> str | None:
        """The same of a canary's rows, with what to do; `reasons` are error types of those that failed."""
        why = self._why(failed, finished, "first")
        if why is None:
            return None
        decided = set(reasons) - PASSING - NEVER_SENT
        return f"canary: {why}; mend the cause, then submit {'with --retry-failed' if decided else 'again'}"

    def _why(self, failed: int, finished: int, which: str) -> str | None:
        """Why so many failed rows are too many, with the numbers; None where they are not."""
        if failed <= self._share * finished:
            return None
        return (
            f"{failed} of the {which} {finished} finished rows failed for good, "
            f"more than the {self._share * 100:.4g}% that stop_when.failed allows"
        )
