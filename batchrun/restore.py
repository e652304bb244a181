"""What a killed submit sent and was told, given back to the gates of the next one."""

from __future__ import annotations

from collections.abc import Container

from batchrun.admission import Admission
from batchrun.clock import Clock
from batchrun.error_reply import classify
from batchrun.outcome import Reply
from batchrun.retry_after import retry_after
from batchrun.run_folder.checkpoint import Checkpoint
from batchrun.run_folder.records import Sent


def restore(
    admission: Admission,
    checkpoint: Checkpoint,
    used: Container[tuple[str, str]],
    clock: Clock,
    max_wait: float,
) -> None:
    """Charge the windows with what was sent, and honour every Retry-After that has not passed.

    `used` are the (endpoint, model) pairs of this run. A Retry-After above `max_wait` (seconds)
    closes its endpoint for what is left of it.
    """
    if checkpoint.admitted:
        admission.restore(checkpoint.admitted)
    for sent in checkpoint.sent:
        if _model(sent) in used:
            admission.recall(*_model(sent), sent.at, sent.tokens)
    for sent, answered in checkpoint.refusals:
        reply = answered.exchange
        if not isinstance(reply, Reply) or _model(sent) not in used:
            continue
        error = classify(reply)
        told = retry_after(reply.headers, answered.at, error.message)
        left = answered.at + told - clock.wall() if told is not None else 0.0
        if told is not None and told > max_wait and left > 0:
            admission.close(sent.endpoint, error, seconds=left)
        elif left > 0:
            admission.pause(sent.endpoint, clock.monotonic() + left)


def _model(sent: Sent) -> tuple[str, str]:
    """Endpoint and model of a call, as the gates name them."""
    return sent.endpoint, sent.model.partition("/")[2]
