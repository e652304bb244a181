"""Publication: input rows joined with their answers, in input order, as a new generation of results.

A generation is a folder that never changes once `results` points to it; the swap is one rename. The
results are cut into buckets of row_index, and a bucket that is as it was is linked, not written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from batchrun import codec
from batchrun.chat.transcript import flattened
from batchrun.index import Identifier, State
from batchrun.index.sharing import HOLDER
from batchrun.outcome import Error
from batchrun.render.request import Request
from batchrun.run_folder import checksum
from batchrun.run_folder.columns import RESULT_SCHEMA
from batchrun.run_folder.duplicates import Holders, unpaid
from batchrun.run_folder.folder import GENERATIONS, RunFolder, write_atomically
from batchrun.run_folder.gathered import Gathered, answers_of_rows, is_scattered
from batchrun.run_folder.journal import sync_folder
from batchrun.run_folder.layout import Layout
from batchrun.run_folder.raw import raw_request, raw_response
from batchrun.run_folder.sealed import PartReader, histories, write_parquet
from batchrun.run_folder.shared import remember_shared
from batchrun.run_folder.typed import MESSAGES
from batchrun.source import Batch

BUCKET = 5_000
"""Input rows of one results part."""

_OLDER = (int(State.KEPT), int(State.CHANGED))
"""States of rows that show an answer to another request than theirs."""

MESSAGES_FIELD = pa.field("messages", MESSAGES)

PIECE = 500
"""Rows that are joined with their answers at a time."""

GROUP_BYTES = 4_000_000
"""Rows of a results part are gathered into row groups of about this size: each of them costs as much to write
as two thousand rows."""


@dataclass(slots=True)
class _Bucket:
    """The rows of one results part while the input goes by."""

    number: int
    frame: pl.DataFrame
    inputs: list[pa.Table] = field(default_factory=list)
    row_ids: list[str] = field(default_factory=list)
    added: list[dict[str, Any]] = field(default_factory=list)

    def take(self, batch: Batch, at: list[int], layout: Layout, identifier: Identifier) -> None:
        """Take the rows of `batch` at these positions."""
        inputs = batch.arrow(layout.carried)
        self.inputs.append(inputs if len(at) == len(batch.rows) else inputs.take(at))
        for position in at:
            row = batch.rows[position]
            found = identifier.identify(row) if layout.renders else None
            self.row_ids.append(identifier.row_id(row))
            if found is not None:
                self.added.append({} if isinstance(found.request, Error) else _added(found.request, layout))

    def pieces(self) -> Iterator[_Bucket]:
        """The same rows in pieces that are small enough to hold with their answers."""
        inputs = pa.concat_tables(self.inputs)
        for start in range(0, len(self.frame), PIECE):
            end = start + PIECE
            yield _Bucket(
                self.number,
                self.frame.slice(start, PIECE),
                [inputs.slice(start, PIECE)],
                self.row_ids[start:end],
                self.added[start:end],
            )


def _added(request: Request, layout: Layout) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if layout.prompts:
        values["messages"] = [flattened(message) for message in request.shown(request.messages)]
    return values | ({"request": request} if layout.raw else {})


def release_memory() -> None:
    """Give back what Arrow's allocator, glibc's, keeps of tables and records that are gone."""
    pa.default_memory_pool().release_unused()


class Publisher:
    """Writes generations of one run folder.

    `identity` names everything beside the rows that the parts depend on: files, options, version.
    """

    def __init__(self, run: RunFolder, layout: Layout, identifier: Identifier, identity: str) -> None:
        self._run = run
        self._layout = layout
        self._identifier = identifier
        self._identity = identity
        self._schema = layout.schema()
        self._recorded = [name for name in RESULT_SCHEMA.names if name != "duplicate_of"]
        self._columns = [*self._recorded, *(["_records"] if layout.raw else [])]
        self._parts = PartReader(run.checkpoint, self._columns)
        self._holders: Holders | None = None

    def publish(self, batches: Iterator[Batch], states: pl.DataFrame) -> bool:
        """Make the results show the answered rows of `states` (see `index.match`).

        One that waits for the answer to another request shows the older one, `stale`, until it is there.
        Gives False when they do already. Raises InputError when the input changed meanwhile.
        """
        # a negative part is a journal file's that the disk had no room to seal: published next time
        frame = states.filter(pl.col("part") > 0)
        if HOLDER in frame.columns:
            remember_shared(self._run.checkpoint, frame)
            self._holders = Holders(frame, self._identifier)
        before = self._published()
        signatures = {str(number): self._signature(part) for number, part in _buckets(frame)}
        if before.get("parts") == signatures and self._are_sound(signatures):
            return False
        number = max([0, *(int(path.name) for path in self._generations())]) + 1
        folder = self._run.generations / f"{number:06d}"
        folder.mkdir(mode=0o700)
        try:
            self._write(folder, frame, batches, linked=self._link(before, signatures, folder))
        except BaseException:  # a full disk has better use for the room
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._parts.close()
        self._swap(folder, signatures)
        return True

    def _write(
        self, folder: Path, frame: pl.DataFrame, batches: Iterator[Batch], *, linked: Collection[int]
    ) -> None:
        """The parts of a generation that are not `linked` to those of the one before."""
        new = frame.filter(~(pl.col("row_index") // BUCKET).is_in(list(linked)))
        with self._in_reach(new) as rows:
            for bucket in self._filled(batches, rows):
                tables = (self._table(piece) for piece in bucket.pieces())
                write_parquet(_packed(tables), folder / _part(bucket.number), self._schema)
                release_memory()
        if frame.is_empty():
            write_parquet([], folder / _part(0), self._schema)

    @contextmanager
    def _in_reach(self, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The rows with places of their answers that can be read in the order of the rows."""
        if not is_scattered(frame, BUCKET):
            yield frame
            return
        own = self._parts
        gathered = Gathered(frame, own, self._columns, self._run.checkpoint / "gathered.tmp")
        self._parts = gathered.parts
        try:
            yield gathered.rows
        finally:
            gathered.close()
            self._parts = own

    def _filled(self, batches: Iterator[Batch], frame: pl.DataFrame) -> Iterator[_Bucket]:
        """The buckets of `frame`, each once its last row has gone by."""
        wanted = list(_buckets(frame))
        if not wanted:
            return
        left = iter([*wanted, None])
        current = next(left)
        bucket = None
        for batch in batches:
            start, end = batch.rows[0].index, batch.rows[-1].index + 1
            if self._holders:
                self._holders.see(batch.rows)
            while current is not None and start < (current[0] + 1) * BUCKET:
                number, part = current
                if end <= number * BUCKET:
                    break
                bucket = bucket or _Bucket(number, part)
                at = part["row_index"]
                at = at.filter((at >= start) & (at < end)) - start
                if len(at):
                    bucket.take(batch, at.to_list(), self._layout, self._identifier)
                if end < (number + 1) * BUCKET:
                    break
                yield bucket
                bucket, current = None, next(left)
            if current is None:
                return
        if bucket is not None:
            yield bucket

    def _table(self, bucket: _Bucket) -> pa.Table:
        answers = answers_of_rows(bucket.frame, self._parts)
        stale = [state in _OLDER for state in bucket.frame["state"].to_list()]
        types = self._layout.types
        named = self._holders.names(bucket.frame, answers) if self._holders else [None] * len(bucket.frame)
        if self._holders:
            answers = unpaid(answers, named)
        columns = {name: types.column(name, answers.column(name)) for name in self._recorded}
        columns |= {
            "row_index": pa.array(bucket.frame["row_index"].to_list(), pa.int64()),
            "row_id": pa.array(bucket.row_ids, pa.string()),
            "stale": pa.array(stale, pa.bool_()),
            "duplicate_of": pa.array(named, pa.string()),
        }
        if self._layout.raw:
            self._add_raw(bucket, answers)
        prompts = [MESSAGES_FIELD] if self._layout.prompts else []
        for column in [*prompts, *self._layout.added]:
            values = [
                None if is_older and column.name != "raw_response" else row.get(column.name)
                for row, is_older in zip(bucket.added, stale, strict=True)
            ]
            columns[column.name] = pa.array(values, column.type)
        inputs = pa.concat_tables(bucket.inputs).columns
        ours = [columns[f.name] for f in [*RESULT_SCHEMA, *self._layout.added]]
        return pa.Table.from_arrays([*ours[:2], *inputs, *ours[2:]], schema=self._schema)

    def _add_raw(self, bucket: _Bucket, answers: pa.Table) -> None:
        models = zip(
            answers.column("model").to_pylist(), answers.column("model_index").to_pylist(), strict=True
        )
        bucket.added = [
            {
                **row,
                "raw_request": raw_request(row.get("request"), history, *model),
                "raw_response": raw_response(history),
            }
            for row, model, history in zip(bucket.added, models, histories(answers), strict=True)
        ]

    def _signature(self, frame: pl.DataFrame) -> str:
        told = ["row_index", "key", "hash", "part", "position", "state", *([HOLDER] if self._holders else [])]
        rows = frame.select(told).write_csv()
        return codec.digest(f"{self._identity}\n{rows}".encode())

    def _published(self) -> dict[str, Any]:
        with suppress(FileNotFoundError, ValueError):
            document = codec.loads((self._run.checkpoint / "published.json").read_bytes())
            # after a kill between the swap and this file, it speaks of another generation
            if isinstance(document, dict) and document.get("generation") == self._generation():
                return document
        return {}

    def _generation(self) -> str:
        """The name of the generation that `results` points to; empty where there is none."""
        return self._run.results.readlink().name if self._run.results.is_symlink() else ""

    def _link(self, before: dict[str, Any], signatures: dict[str, str], folder: Path) -> frozenset[int]:
        """Link the parts of the generation before that are as they should be."""
        earlier = self._run.generations / str(before.get("generation"))
        linked = set()
        for number, signature in signatures.items():
            if before.get("parts", {}).get(number) != signature:
                continue
            if checksum.is_sound(earlier / _part(int(number))):  # else it is written anew
                with suppress(OSError):
                    (folder / _part(int(number))).hardlink_to(earlier / _part(int(number)))
                    linked.add(int(number))
        return frozenset(linked)

    def _are_sound(self, parts: dict[str, str]) -> bool:
        """Whether the published parts are there as they were written."""
        return self._run.results.exists() and all(
            checksum.is_sound(self._run.results / _part(int(number))) for number in parts or ["0"]
        )

    def _swap(self, folder: Path, signatures: dict[str, str]) -> None:
        """Point `results` to the new generation; the one before stays for who is reading it."""
        sync_folder(folder)
        sync_folder(self._run.generations)
        before = self._generation()
        pointer = self._run.path / "results.tmp"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(f"{GENERATIONS}/{folder.name}")
        os.replace(pointer, self._run.results)  # noqa: PTH105 - the name that means atomic
        sync_folder(self._run.path)
        published = {"generation": folder.name, "parts": signatures}
        write_atomically(self._run.checkpoint / "published.json", codec.dumps(published))
        for path in self._generations():
            if path.name not in (before, folder.name):
                shutil.rmtree(path)

    def _generations(self) -> list[Path]:
        return [path for path in self._run.generations.iterdir() if path.name.isdigit()]


def _packed(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables, of GROUP_BYTES or a little more."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size >= GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def _buckets(frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of each bucket that has any, in order."""
    numbers = frame["row_index"] // BUCKET
    for number in numbers.unique(maintain_order=True):
        start = numbers.search_sorted(number, side="left")
        end = numbers.search_sorted(number, side="right")
        yield number, frame.slice(start, end - start)


def _part(number: int) -> str:
    return f"part-{number:05d}.parquet"
