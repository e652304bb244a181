"""The journal's lines: what is written is read, and what is not whole is known."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.outcome import ERROR_TYPES, Completed, Error, Failed, NoResponse, Response
from batchrun.run_folder.journal.lines import DamagedRecordError, decode, encode
from batchrun.run_folder.journal.records import Admitted, Answered, Done, Header, Record, Sent
from tests.run_folder.recorded import answered, asked, reply, sent

TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=10).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
NUMBER = st.integers(0, 2**53)
SECONDS = st.floats(0, 4e9)
KEY = st.integers(0, 2**64 - 1)
HASH = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
TYPE: st.SearchStrategy[Any] = st.sampled_from(ERROR_TYPES)
KEPT_HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "x-request-id", "x-ratelimit-remaining-tokens", "x-should-retry"]), TEXT
)
BODY = st.binary(max_size=30) | TEXT.map(lambda text: text.encode(errors="surrogatepass"))
EXCHANGE = st.builds(Response, st.integers(100, 599), KEPT_HEADERS, BODY, SECONDS) | st.builds(
    NoResponse, st.sampled_from(["connection", "timeout"]), TEXT, st.booleans(), SECONDS
)
ERROR = st.builds(Error, TYPE, TEXT, st.none() | TEXT, st.none() | st.integers(100, 599))
OUTCOME = st.builds(Completed, NUMBER) | st.builds(Failed, ERROR, st.none() | NUMBER)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(Header, NUMBER),
    st.builds(
        Sent,
        *(NUMBER, NUMBER, NUMBER, KEY, HASH, TEXT, TEXT, NUMBER, SECONDS, NUMBER),
        *(st.none() | SECONDS, st.none() | NUMBER),
        named=TEXT,
        batch=TEXT,
    ),
    st.builds(Answered, NUMBER, NUMBER, SECONDS, EXCHANGE),
    st.builds(
        Done,
        *(NUMBER, NUMBER, TEXT, KEY, HASH, SECONDS, NUMBER, OUTCOME),
        st.lists(st.none() | TYPE, max_size=4).map(tuple),
    ),
    st.builds(Admitted, st.dictionaries(TEXT, st.lists(SECONDS, max_size=3), max_size=3)),
)


@given(RECORDS)
def test_a_record_comes_back_from_its_line(record: Record) -> None:
    """Every field, whatever text or bytes it holds; and a line holds no other newline."""
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line.removesuffix(b"\n")) == record


@given(RECORDS, st.data())
def test_a_flipped_bit_is_known(record: Record, data: st.DataObject) -> None:
    """Wherever it is, the checksum itself included."""
    line = bytearray(encode(record)[:-1])
    bit = data.draw(st.integers(0, len(line) * 8 - 1))
    line[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedRecordError, match=f"checksum mismatch in a record of {len(line)} bytes"):
        decode(bytes(line))


def test_a_line_cut_anywhere_is_known() -> None:
    """As a kill or a power cut leaves it; nothing is guessed from what is there."""
    for record in [Header(1), *asked(1), answered(2, exchange=reply(b"\xff\xfe"))]:
        line = encode(record)[:-1]
        for length in range(len(line)):
            with pytest.raises(DamagedRecordError):
                decode(line[:length])


@pytest.mark.parametrize("line", [b"", b"\n", b"x" * 200, b"00000000 {}", b"\x00" * 64, b"\xff" * 64])
def test_what_never_was_a_record_is_known(line: bytes) -> None:
    """Zeros are what some filesystems leave after a power cut."""
    with pytest.raises(DamagedRecordError):
        decode(line)


def test_a_line_is_a_checksum_and_json_that_people_can_read() -> None:
    """The form on disk: a change of it needs another FORMAT_VERSION."""
    line = encode(answered(7, 1, reply('{"é":1}'.encode(), x_request_id="q1", content_type="text")))
    checksum, text = line.rstrip(b"\n").split(b" ", 1)
    assert int(checksum, 16) == zlib.crc32(text)
    assert text.decode() == (
        '{"answer":7,"call":1,"at":1800000007.1499999,"status":200,"headers":{"x-request-id":"q1"},'
        '"latency":0.25,"body":"{\\"é\\":1}"}'
    )


def test_a_call_says_which_batch_it_went_by() -> None:
    """A call of its own does not; a record of before there were batches is one of those."""
    assert b'"batch":"batch_7"' in encode(sent(1, batch="batch_7"))
    line = encode(sent(1))[:-1]
    assert b"batch" not in line
    record = decode(line)
    assert isinstance(record, Sent)
    assert record.batch == ""


def test_a_body_that_is_not_utf_8_is_kept_byte_by_byte() -> None:
    """A proxy's Latin-1 page, or gzip that was not asked for."""
    record = answered(1, exchange=reply(bytes(range(256))))
    assert b"body64" in encode(record)
    assert decode(encode(record)[:-1]) == record


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("retry-after", True),
        ("retry-after-ms", True),
        ("x-request-id", True),
        ("x-ratelimit-reset-requests", True),
        ("anthropic-ratelimit-tokens-remaining", True),
        ("set-cookie", False),
        ("authorization", False),
        ("content-type", False),
    ],
)
def test_of_headers_only_those_with_a_use_are_kept(name: str, kept: bool) -> None:
    """A cookie is a secret."""
    record = decode(encode(answered(1, exchange=Response(200, {name: "v"}, b"{}", 0.1)))[:-1])
    assert isinstance(record, Answered)
    assert isinstance(record.exchange, Response)
    assert (name in record.exchange.headers) is kept
