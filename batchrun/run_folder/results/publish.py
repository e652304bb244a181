"""Publication: input rows joined with their answers, in input order, as a new generation of results.

A generation is a folder that never changes once `results` points to it; the swap is one rename. The
results are cut into buckets of row_index, and a bucket that is as it was is linked, not written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from batchrun import codec
from batchrun.index import Identifier, State
from batchrun.index.sharing import HOLDER
from batchrun.run_folder import checksum
from batchrun.run_folder.checkpoint.gathered import Gathered, answers_of_rows, is_scattered, portions
from batchrun.run_folder.checkpoint.row_groups import row_groups
from batchrun.run_folder.checkpoint.sealed import PartReader, histories, write_parquet
from batchrun.run_folder.checkpoint.shared import remember_shared
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.columns.layout import Layout
from batchrun.run_folder.columns.raw import raw_request, raw_response
from batchrun.run_folder.columns.typed import MESSAGES
from batchrun.run_folder.disk import sync_folder, write_atomically
from batchrun.run_folder.folder import GENERATIONS, RunFolder
from batchrun.run_folder.results.bucket import BUCKET, PIECE, Piece, buckets
from batchrun.run_folder.results.duplicates import Holders, unpaid
from batchrun.source import Batch

_OLDER = (int(State.KEPT), int(State.CHANGED))
"""States of rows that show an answer to another request than theirs."""

MESSAGES_FIELD = pa.field("messages", MESSAGES)


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
        self._parts = PartReader(run.checkpoint_path, self._columns)
        self._holders: Holders | None = None

    def publish(self, batches: Iterator[Batch], states: pl.DataFrame) -> bool:
        """Make the results show the answered rows of `states` (see `index.match`).

        One that waits for the answer to another request shows the older one, `stale`, until it is there.
        Gives False when they do already. Raises InputError when the input changed meanwhile.
        """
        if HOLDER in states.columns:
            answered = states.filter(pl.col("part") > 0)
            remember_shared(self._run.checkpoint_path, answered)
            self._holders = Holders(answered, self._identifier)
        before = self._published()
        full = {str(number): self._signature(part) for number, part in buckets(states)}
        signatures = full or {"0": self._signature(states.clear())}
        if before.get("parts") == signatures and self._are_sound(signatures):
            return False
        number = max([0, *(int(path.name) for path in self._generations())]) + 1
        folder = self._run.generations / f"{number:06d}"
        folder.mkdir(mode=0o700)
        try:
            self._write(folder, states, batches, linked=self._link(before, signatures, folder))
            if not full:
                write_parquet([], folder / _part(0), self._schema)
        except BaseException:  # a full disk has better use for the room
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._parts.close()
        self._swap(folder, signatures)
        return True

    def _write(
        self, folder: Path, states: pl.DataFrame, batches: Iterator[Batch], *, linked: Collection[int]
    ) -> None:
        """The parts of a generation that are not `linked` to those of the one before."""
        new = states
        if linked:
            new = states.filter(~(pl.col("row_index") // BUCKET).is_in(list(linked)))
        with self._in_reach(new) as rows:
            for number, pieces in groupby(self._pieces(batches, rows), key=attrgetter("number")):
                write_parquet(row_groups(map(self._table, pieces)), folder / _part(number), self._schema)
                release_memory()

    @contextmanager
    def _in_reach(self, states: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The rows with places of their answers that can be read in the order of the rows."""
        if not is_scattered(rows["part"] for _number, rows in buckets(states)):
            yield states
            return
        own = self._parts
        gathered = Gathered(
            states.filter(pl.col("part") > 0), own, self._columns, self._run.checkpoint_path / "gathered.tmp"
        )
        self._parts = gathered.parts
        try:
            yield gathered.rows
        finally:
            gathered.close()
            self._parts = own

    def _pieces(self, batches: Iterator[Batch], states: pl.DataFrame) -> Iterator[Piece]:
        """The answered rows of `states`, each piece once its last row has gone by."""
        left = (Piece(number, part) for number, part in buckets(states))
        piece = next(left, None)
        for batch in batches if piece else ():
            end = batch.rows[-1].index + 1
            if self._holders:
                self._holders.see(batch.rows)
            while piece is not None and piece.number * BUCKET < end:
                piece = yield from self._filled(piece, batch)
                if end < (piece.number + 1) * BUCKET:
                    break
                yield from piece.rest()
                piece = next(left, None)
            if piece is None:
                return
        if piece is not None:
            yield from piece.rest()

    def _filled(self, piece: Piece, batch: Batch) -> Generator[Piece, None, Piece]:
        """Take the rows of `batch` that are of the piece's bucket; returns the piece that goes on."""
        start = batch.rows[0].index
        indices = piece.rows["row_index"]
        begin, end = (indices.search_sorted(at) for at in (start, start + len(batch.rows)))
        wanted = piece.rows.slice(begin, end - begin)
        at = (wanted["row_index"] - start).to_list()
        if not at:
            return piece
        inputs = batch.arrow(self._layout.carried)
        if len(at) < len(batch.rows):
            inputs = inputs.take(at)
        first = 0
        for some, size in portions(wanted, self._parts, PIECE):
            rows = [batch.rows[position] for position in at[first : first + len(some)]]
            piece.take(rows, inputs.slice(first, len(some)), size, self._layout, self._identifier)
            first += len(some)
            if piece.is_full:
                yield piece
                piece = piece.next()
        return piece

    def _table(self, piece: Piece) -> pa.Table:
        frame = piece.frame
        answers = answers_of_rows(frame, self._parts)
        stale = [state in _OLDER for state in frame["state"].to_list()]
        types = self._layout.types
        named = self._holders.names(frame, answers) if self._holders else [None] * len(frame)
        if self._holders:
            answers = unpaid(answers, named)
        columns = {name: types.column(name, answers.column(name)) for name in self._recorded}
        columns |= {
            "row_index": pa.array(frame["row_index"].to_list(), pa.int64()),
            "row_id": pa.array(piece.row_ids, pa.string()),
            "stale": pa.array(stale, pa.bool_()),
            "duplicate_of": pa.array(named, pa.string()),
        }
        if self._layout.raw:
            self._add_raw(piece, answers)
        prompts = [MESSAGES_FIELD] if self._layout.prompts else []
        for column in [*prompts, *self._layout.added]:
            values = [
                None if is_older and column.name != "raw_response" else row.get(column.name)
                for row, is_older in zip(piece.added, stale, strict=True)
            ]
            columns[column.name] = pa.array(values, column.type)
        inputs = pa.concat_tables(piece.inputs).columns
        ours = [columns[f.name] for f in [*RESULT_SCHEMA, *self._layout.added]]
        return pa.Table.from_arrays([*ours[:2], *inputs, *ours[2:]], schema=self._schema)

    def _add_raw(self, piece: Piece, answers: pa.Table) -> None:
        models = zip(
            answers.column("model").to_pylist(), answers.column("model_index").to_pylist(), strict=True
        )
        piece.added = [
            {
                **row,
                "raw_request": raw_request(row.get("request"), history, *model),
                "raw_response": raw_response(history),
            }
            for row, model, history in zip(piece.added, models, histories(answers), strict=True)
        ]

    def _signature(self, frame: pl.DataFrame) -> str:
        told = ["row_index", "key", "hash", "part", "position", "state", *([HOLDER] if self._holders else [])]
        rows = frame.select(told).write_csv()
        return codec.digest(f"{self._identity}\n{rows}".encode())

    def _published(self) -> dict[str, Any]:
        with suppress(FileNotFoundError, ValueError):
            document = codec.loads((self._run.checkpoint_path / "published.json").read_bytes())
            # after a kill between the swap and this file, it speaks of another generation
            if isinstance(document, dict) and document.get("generation") == self._run.published:
                return document
        return {}

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
            checksum.is_sound(self._run.results / _part(int(number))) for number in parts
        )

    def _swap(self, folder: Path, signatures: dict[str, str]) -> None:
        """Point `results` to the new generation; the one before stays for who is reading it."""
        sync_folder(folder)
        sync_folder(self._run.generations)
        before = self._run.published
        pointer = self._run.path / "results.tmp"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(f"{GENERATIONS}/{folder.name}")
        os.replace(pointer, self._run.results)  # noqa: PTH105 - the name that means atomic
        sync_folder(self._run.path)
        published = {"generation": folder.name, "parts": signatures}
        write_atomically(self._run.checkpoint_path / "published.json", codec.dumps(published))
        for path in self._generations():
            if path.name not in (before, folder.name):
                shutil.rmtree(path)

    def _generations(self) -> list[Path]:
        return [path for path in self._run.generations.iterdir() if path.name.isdigit()]


def _part(number: int) -> str:
    return f"part-{number:05d}.parquet"
