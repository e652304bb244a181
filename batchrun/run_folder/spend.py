"""What a run has taken of its budget so far, from the records of its calls.

Finished tasks say it themselves (`Done.spend`), and a sealed part's footer holds the sum over its tasks; so
it counts exactly as long as they do. Of unfinished tasks the records of each call say it. What `gc` drops
stays counted in a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from batchrun import codec
from batchrun.budget import Amounts, Spend
from batchrun.judge import judge
from batchrun.paid import cost_of, paid, taken
from batchrun.pricing import PriceOf
from batchrun.run_folder.folder import write_atomically
from batchrun.run_folder.history import History
from batchrun.run_folder.records import Answered, Sent

SPEND_KEY = b"batchrun.spend"
"""The key of a sealed part's footer that holds what its tasks took."""

_DROPPED = "spent.json"


def recalled(sent: Sent, answered: Answered | None, price_of: PriceOf) -> tuple[Amounts, float | None]:
    """What a call of an earlier submit took of the budget, and what it cost where that is known."""
    bound = Amounts(sent.bound_usd, sent.bound_tokens, 1)
    if answered is None:
        return bound, None
    judged, price = judge(answered.exchange), price_of(sent.model)
    return taken(paid(judged, price, sent.at), bound), cost_of(judged, price, sent.at)


def finished_spend(finished: Iterable[History]) -> Spend:
    """What finished tasks took, as they say."""
    spend = Spend()
    for history in finished:
        if history.done and history.done.spend:
            spend += Spend.read(history.done.spend)
    return spend


def unfinished_spend(unfinished: Iterable[History], price_of: PriceOf) -> Spend:
    """What unfinished tasks took, calls without an answer at their bounds."""
    spend = Spend()
    for history in unfinished:
        for sent, answered in history.own_calls():
            spend += Spend.on(sent.at, recalled(sent, answered, price_of)[0])
    return spend


def part_spend(path: Path) -> Spend:
    """What the tasks of a sealed part took."""
    metadata = pq.read_metadata(path).metadata or {}
    return Spend.read(codec.loads(metadata.get(SPEND_KEY, b"{}")))


def read_dropped(folder: Path) -> Spend:
    """What the tasks took whose records are gone."""
    try:
        return Spend.read(codec.loads((folder / _DROPPED).read_bytes()))
    except FileNotFoundError:
        return Spend()


def keep_dropped(folder: Path, spend: Spend) -> None:
    """Go on counting what tasks took whose records are about to go."""
    write_atomically(folder / _DROPPED, codec.dumps((read_dropped(folder) + spend).document()))
