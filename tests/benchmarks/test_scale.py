"""The figures of the benchmark on scale."""

from __future__ import annotations

import socket
import time

import pytest

from tests.benchmarks.first_call import noticing
from tests.benchmarks.scale import Command, Scaled, number, pass_of, slope, table


@pytest.mark.parametrize(("text", "rows"), [("500", 500), ("10k", 10_000), ("1M", 1_000_000)])
def test_rows_are_named_as_people_do(text: str, rows: int) -> None:
    """Thousands and millions by a letter."""
    assert number(text) == rows


@pytest.mark.parametrize("text", ["", "0", "k", "-1", "1.5M", "10K", "1M,2M"])
def test_what_is_no_number_of_rows_is_refused(text: str) -> None:
    """A benchmark of another size than was meant would mislead."""
    with pytest.raises(ValueError, match="no number of rows"):
        number(text)


def _size(rows: int, *, seconds: float, peak_mb: float) -> Scaled:
    took = Command(1.0, 0.5, 100.0)
    return Scaled(
        rows=rows,
        submitted=Command(seconds, 1.0, peak_mb),
        status=took,
        plan=took,
        resumed=Command(3.0, 1.0, 100.0, first_call=1.0),
        reread=Command(3.0, 1.0, 100.0, first_call=1.0 + rows * 8e-6),
        nothing=took,
        plan_done=took,
        published=Command(3.0, 2.0, 100.0),
    )


def test_sizes_are_set_against_the_smallest() -> None:
    """Rows a second as a share, memory as a slope, the index pass a row."""
    small, large = _size(10_000, seconds=10, peak_mb=200), _size(210_000, seconds=420, peak_mb=205)
    assert slope(large, small) == "2.5"
    assert slope(small, small) == "-"
    assert pass_of(large) == pytest.approx(8)
    text = table([small, large])
    shares = next(line for line in text.splitlines() if "against the smallest" in line)
    assert [cell.strip() for cell in shares.split("|")[2:5]] == ["1.00x", "0.50x", ">= 0.95x"]


def test_the_first_call_is_noticed_when_it_comes() -> None:
    """A connection alone is no call."""
    with noticing() as (url, came):
        port = int(url.removesuffix("/v1").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as caller:
            assert came == []
            before = time.monotonic()
            caller.sendall(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
            assert caller.recv(100).startswith(b"HTTP/1.1 200")
        assert before <= came[0] <= time.monotonic()
