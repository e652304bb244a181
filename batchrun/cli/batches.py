"""Batches that are with a provider, for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from batchrun.cli.terminal import fact
from batchrun.wording import clock, counted

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.run_folder.checkpoint.with_providers import Batch
    from batchrun.status.status import Status

_MOST = 20
"""Batches that are told one by one."""


def tell_batches(console: Console, found: Status) -> None:
    """One line for each, the oldest first, and what is not known of them."""
    shown = found.batches[:_MOST]
    for at, batch in enumerate(shown):
        fact(console, "" if at else "batches", line(batch, time.time()))
    if more := len(found.batches) - len(shown):
        rows = sum(batch.rows for batch in found.batches[_MOST:])
        fact(console, "", f"{counted(more, 'batch')} more with {counted(rows, 'row')}: --json has them all")
    if stale := [batch for batch in found.batches if batch.batch_id and not batch.asked]:
        which = "all of them" if len(stale) == len(found.batches) else counted(len(stale), "batch")
        for note in dict.fromkeys(batch.note for batch in stale if batch.note):
            fact(console, "", f"as known last, {which} not asked now: {note}", style="yellow")
    if not found.is_running:
        for batch in found.batches:
            if not batch.batch_id:
                _tell_unsure(console, batch)


def line(batch: Batch, now: float) -> str:
    """`3f2a91c0: batch_123 in_progress, 1,200 of 50,000 answered, 12 failed, 2:10:04 old, openai/gpt-4.1`."""
    parts = [f"{batch.batch_id or 'id not known'}{f' {batch.status}' if batch.status else ''}"]
    if batch.batch_id:
        parts.append(f"{batch.done:,} of {batch.rows:,} answered")
    else:
        parts.append(counted(batch.rows, "row"))
    if batch.failed:
        parts.append(f"{batch.failed:,} of them failed")
    parts += [f"{clock(batch.age(now))} old", batch.model]
    return f"{batch.name}: {', '.join(parts)}"


def _tell_unsure(console: Console, batch: Batch) -> None:
    text = (
        f"whether {batch.endpoint} has created {batch.name} is not known. The next submit looks for it; "
        f"where it cannot find out, it asks for --batch {batch.name}=ID, or --batch {batch.name}=none"
    )
    fact(console, "", text, style="yellow")
