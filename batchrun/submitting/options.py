"""What the user says of one submit beside the job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchrun.engines.control import SEAL_ROWS
from batchrun.engines.uploading import INTERVAL
from batchrun.errors import UsageError
from batchrun.job import ModelChoice
from batchrun.remote.lease import TTL

LOOKS = (0.0, 2.0, 8.0)
"""Lists of batches may be some seconds behind."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says beside the job; times in seconds. Raises UsageError."""

    rerun_changed: bool = False
    keep_changed: bool = False
    retry_failed: frozenset[str] = frozenset()
    """Error types whose failed rows are asked again although a decision would be needed."""
    retry_model: ModelChoice | None = None
    """Asked in place of the job's models, for the rows of `retry_failed` alone."""
    limit: int | None = None
    """At most so many rows now; the rest stays pending."""
    wait: bool = True
    """Whether to wait for batches that are with a provider."""
    batches: Mapping[str, str] = field(default_factory=dict)
    """What became of a batch of which that is not known, by its name in `status`: an id there, or `none`."""
    looks: tuple[float, ...] = LOOKS
    """Seconds before each look for a batch whose creation was not answered."""
    drain: float = 30.0
    interrupts: Callable[[], int] | None = None
    """How often the user has asked to stop: for a submit outside the main thread, which no signal reaches."""
    seal_rows: int = SEAL_ROWS
    """Finished rows after which a journal file becomes a sealed part: fewer where rows are very large."""
    upload_interval: float = INTERVAL
    """Seconds between two uploads to object storage."""
    lease: float = TTL
    """Seconds of silence after which a run in object storage may be taken over."""

    def __post_init__(self) -> None:
        if self.rerun_changed and self.keep_changed:
            raise UsageError(
                "--rerun-changed and --keep-changed exclude each other",
                hint="Choose one: the first asks changed rows again, the other leaves their answers.",
            )
        if self.limit is not None and self.limit < 1:
            raise UsageError(
                f"limit is {self.limit}: it must be at least 1", hint="Leave it out to ask for all rows."
            )
        if not self.drain >= 0:
            raise UsageError(
                f"drain is {self.drain}: it must be 0 seconds or more",
                hint="Give 0 to leave calls under way no time; 30 is usual.",
            )
