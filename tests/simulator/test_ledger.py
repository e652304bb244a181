"""The ledger: what was received and what was answered."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from batchrun.errors import UsageError
from batchrun.simulator.ledger import Answer, Ledger, read_ledger

GOOD = Answer(at=2.0, status=200, delivered=True, billed=True, completion_tokens=5)


def received(ledger: Ledger, prompt: str = "hello") -> int:
    return ledger.call(model="m-1", key="k" * 32, prompt=prompt, prompt_tokens=3, api_key_ok=True)


def test_calls_are_merged_with_their_answers(tmp_path: Path) -> None:
    """A call without an answer stays without; answers may come in any order."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    first, second, third = received(ledger), received(ledger), received(ledger)
    ledger.answer(third, GOOD)
    ledger.answer(first, GOOD)
    calls = read_ledger(tmp_path / "ledger.jsonl")
    assert [first, second, third] == [call.call for call in calls]
    assert [call.answer for call in calls] == [GOOD, None, GOOD]
    assert (
        calls[0].model,
        calls[0].key,
        calls[0].prompt,
        calls[0].prompt_tokens,
        calls[0].api_key_ok,
    ) == ("m-1", "k" * 32, "hello", 3, True)
    ledger.close()


def test_a_correction_replaces_the_answer(tmp_path: Path) -> None:
    """An answer that could not leave after all counts as not delivered, in the file and in the counts."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    call = received(ledger)
    ledger.answer(call, GOOD)
    lost = Answer(at=2.0, status=200, delivered=False, billed=True, completion_tokens=5)
    ledger.correct(call, GOOD, lost)
    assert [lost] == [call.answer for call in read_ledger(tmp_path / "ledger.jsonl")]
    assert (
        ledger.counts.calls,
        ledger.counts.delivered,
        ledger.counts.billed,
        dict(ledger.counts.statuses),
    ) == (1, 0, 1, {200: 1})
    ledger.close()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """Whatever a crash left of the last line, the lines before it are read."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    received(ledger)
    ledger.answer(1, GOOD)
    ledger.close()
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second, len(whole)):
        path.write_bytes(whole[:end])
        assert [call.answer for call in read_ledger(path)] == [None]


def test_numbers_go_on_in_a_ledger_that_holds_calls(tmp_path: Path) -> None:
    """A simulator that is started again on the same ledger does not number its calls like earlier ones."""
    for expected in (1, 2, 3):
        ledger = Ledger(tmp_path / "ledger.jsonl")
        assert expected == received(ledger)
        ledger.close()
    assert [call.call for call in read_ledger(tmp_path / "ledger.jsonl")] == [1, 2, 3]


def test_a_simulator_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    """What a kill has left of a line is taken away before the next is written, wherever it was cut."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.answer(received(ledger), GOOD)
    ledger.close()
    whole = path.read_bytes()
    for end in range(whole.index(b"\n") + 2, len(whole)):
        path.write_bytes(whole[:end])
        for expected in (2, 3):
            ledger = Ledger(path)
            assert received(ledger) == expected
            ledger.close()
        assert [call.call for call in read_ledger(path)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hello", 1),
        ('{"id": 1}\n', 1),
        ("[1]\n", 1),
        ('{"id": 1}', 1),
        ("{}\n{}\n", 1),
        ('{"event":"answer","call":1}\n', 1),
        ('{"event":"call","call":"x"}\n', 1),
        ('CALL\n{"event":"answ{"event":"call"}\n', 2),
        ("CALL\n\xff\n", 2),
    ],
)
def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path, text: str, line: int) -> None:
    """It is named with the line, and nothing is taken from it or written to it."""
    path = tmp_path / "rows.jsonl"
    ledger = Ledger(path)
    received(ledger)
    ledger.close()
    data = text.encode("latin-1").replace(b"CALL\n", path.read_bytes())
    path.write_bytes(data)
    with pytest.raises(UsageError, match=f"rows.jsonl:{line}: is no line of a simulator's ledger"):
        Ledger(path)
    assert path.read_bytes() == data


def test_a_ledger_without_a_file_counts() -> None:
    """In memory only counts are kept, so it does not grow with the calls."""
    ledger = Ledger()
    for _ in range(3):
        ledger.answer(received(ledger), GOOD)
    assert (ledger.counts.calls, ledger.counts.delivered, ledger.counts.billed) == (3, 3, 3)
    ledger.close()


def test_prompts_are_cut_and_private(tmp_path: Path) -> None:
    """200 characters of the prompt are kept, in a file for its owner alone."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    received(ledger, "x" * 300 + "\ud800")
    assert [call.prompt for call in read_ledger(path)] == ["x" * 200]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ledger.close()
