"""The answers of a batch that is over: found by the ids of their lines, wherever in the files they stand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from batchrun.batches.lines import is_begun, named, read_line
from batchrun.outcome import Exchange, NoResponse

_MISSING = "the batch has ended without a line for this request"


class Answers(Protocol):
    """What came back for requests, by their ids."""

    @property
    def strange(self) -> int:
        """Lines that say nothing of any request, or of one that has another line before."""
        ...

    def of(self, custom_id: str) -> Exchange:
        """What came back for a request. One that has no line may have been answered, and paid."""
        ...


class Known:
    """Answers that are at hand."""

    strange = 0

    def __init__(self, known: Mapping[str, Exchange]) -> None:
        self._known = known

    def of(self, custom_id: str) -> Exchange:
        """What came back for a request that there is one for."""
        return self._known[custom_id]


class Arrived:
    """Looks up answers in an output file and an error file of a batch; both may lack.

    `latency` in seconds is what the batch took. Only the places of the lines are kept in memory. Raises
    OSError where a file cannot be read.
    """

    def __init__(self, paths: list[Path], latency: float) -> None:
        self._latency = latency
        self._files = [path.open("rb") for path in paths]
        self._places: dict[str, tuple[int, int]] = {}
        self.begun = 0
        """Requests that were worked on, by their lines."""
        self.strange = 0
        for at, file in enumerate(self._files):
            self._look_through(at, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return len(self._places)

    def of(self, custom_id: str) -> Exchange:
        """What the line says of a request."""
        if found := self._places.get(custom_id):
            at, place = found
            self._files[at].seek(place)
            line = read_line(self._files[at].readline(), self._latency)
            if line is not None:
                return line.exchange
        return NoResponse("connection", _MISSING, sent=True, latency=self._latency)

    def _look_through(self, at: int, file: BinaryIO) -> None:
        place = 0
        for line in file:
            name, document = named(line)
            if name is None or name in self._places:
                self.strange += bool(line.strip())
            else:
                self._places[name] = at, place
                self.begun += is_begun(document)
            place += len(line)
