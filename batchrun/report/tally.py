"""Sums by keys over many parts of a run."""

from __future__ import annotations

import polars as pl


class Tally:
    """Adds up the other columns of frames by some of their columns; holds a line for each key alone."""

    def __init__(self, *keys: str) -> None:
        self._keys = keys
        self._sums: pl.DataFrame | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Count another part's lines in."""
        both = frame if self._sums is None else pl.concat([self._sums, frame], how="vertical_relaxed")
        self._sums = both.group_by(self._keys).agg(pl.all().sum())

    def count(self, frame: pl.DataFrame) -> None:
        """Count how often each key is among another part's lines."""
        self.add(frame.group_by(self._keys).agg(number=pl.len().cast(pl.Int64)))

    def sums(self) -> pl.DataFrame:
        """A line for each key, in the order of the keys; without columns before anything was added."""
        return pl.DataFrame() if self._sums is None else self._sums.sort(self._keys)
