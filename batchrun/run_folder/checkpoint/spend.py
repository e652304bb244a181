"""What a run has taken of its budget so far, from the records of its calls.

Finished tasks say it themselves (`Done.spend`), and a sealed part's footer holds the sum over its tasks. Of
unfinished tasks the records of each call say it. What `gc` drops stays counted in a file of its own. Each sum
has a name that no other ever has, so that one that stands in two places, as a kill may leave it, counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import pyarrow.parquet as pq

from batchrun import codec
from batchrun.budget import Amounts, Spend
from batchrun.policy.judge import judge
from batchrun.prices import Price, PriceOf
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.disk import write_atomically
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.records import Answered, Sent
from batchrun.spending.paid import cost_of, paid, taken

_KEY = b"batchrun.spend"
_DROPPED = "spent.json"
_DIGEST = "digest"

Spends: TypeAlias = dict[str, Spend]
"""Sums by their names."""


def amounts_of_call(sent: Sent, answered: Answered | None, price_of: PriceOf) -> tuple[Amounts, float | None]:
    """What a call of an earlier submit took of the budget, and what it cost where that is known."""
    bound = Amounts(sent.bound_usd, sent.bound_tokens, 1)
    if answered is None:
        return bound, None
    judged, price = judge(answered.exchange), price_for(sent, price_of)
    return taken(paid(judged, price, sent.at), bound), cost_of(judged, price, sent.at)


def price_for(sent: Sent, price_of: PriceOf) -> Price | None:
    """The price of a call: a batch's for one that went by a batch; None where none is known."""
    price = price_of(sent.model, sent.named)
    return price.in_batch if price and sent.batch else price


def finished_spend(finished: Iterable[History]) -> Spend:
    """What finished tasks took, as they say; where an older format did not, what their answers say."""
    spend = Spend()
    for history in finished:
        if history.done and history.done.spend:
            spend += Spend.read(history.done.spend)
        elif history.done:
            for sent, answered in history.own_calls():
                spend += Spend.on(sent.at, amounts_of_call(sent, answered, lambda *_: None)[0])
    return spend


def unfinished_spend(unfinished: Mapping[int, History], price_of: PriceOf) -> Spends:
    """What each unfinished task (by number) took, calls without an answer at their bounds."""
    spends = {}
    for task, history in unfinished.items():
        calls = list(history.own_calls())
        spend = Spend()
        for sent, answered in calls:
            spend += Spend.on(sent.at, amounts_of_call(sent, answered, price_of)[0])
        if calls:
            spends[_name_of(task, calls[0][0])] = spend
    return spends


def _name_of(task: int, first: Sent) -> str:
    """Of an unfinished task's sum. A task's number may come again once it is dropped, its time may not."""
    return f"task {task} at {first.at}"


def finished_spends(finished: Iterable[History]) -> Spends:
    """The same under a name that no other tasks give: what is sealed again counts once."""
    tasks = list(finished)
    name = codec.digest_of([[item.done.task, item.done.at] for item in tasks if item.done])
    return {name: finished_spend(tasks)}


def footer(spends: Spends) -> dict[bytes, bytes]:
    """What a sealed part's footer says of these sums."""
    return {_KEY: _encoded(spends)}


def part_spends(path: Path) -> Spends:
    """The sums in a sealed part's footer."""
    with readable(path):
        metadata = pq.read_metadata(path).metadata or {}
        return _decoded(metadata.get(_KEY, b"{}"))


def read_dropped(folder: Path) -> Spends:
    """What tasks took whose records are gone. Raises RunFolderError when that is damaged."""
    path = folder / _DROPPED
    with suppress(FileNotFoundError), readable(path):
        return _decoded(path.read_bytes())
    return {}


def keep_dropped(folder: Path, spends: Spends) -> None:
    """Go on counting what tasks took whose records are about to go."""
    write_atomically(folder / _DROPPED, _encoded({**read_dropped(folder), **spends}))


def forget_found(folder: Path, unfinished: Mapping[int, History]) -> None:
    """Leave to the records of these tasks to say what they took: they are not gone after all.

    A `gc` that was killed may have kept their sums already; once such a task is finished, its sum stands
    under another name.
    """
    dropped = read_dropped(folder)
    first = {task: next(history.own_calls(), None) for task, history in unfinished.items()}
    found = {_name_of(task, call[0]) for task, call in first.items() if call}
    if found & dropped.keys():
        left = {name: spend for name, spend in dropped.items() if name not in found}
        write_atomically(folder / _DROPPED, _encoded(left))


def _encoded(spends: Spends) -> bytes:
    document: dict[str, object] = {name: spend.document() for name, spend in spends.items()}
    return codec.dumps({**document, _DIGEST: codec.digest_of(document)})


def _decoded(data: bytes) -> Spends:
    document = codec.loads(data)
    digest = document.pop(_DIGEST, None)
    if digest is not None and digest != codec.digest_of(document):
        raise ValueError("its digest does not fit")
    if any(isinstance(sums, list) for sums in document.values()):  # of days: before sums had names
        return {codec.digest(data): Spend.read(document)}
    return {name: Spend.read(days) for name, days in document.items()}
