"""Damaged bytes are told, cost no other record, and never pass for an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.flipped import Target, live, strike_all
from tests.reliability.flips import KINDS, cut_short, damage_bytes, kinds, real_lines, rearrange
from tests.runs import simulated


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The journal of a real run."""
    return real_lines(tmp_path_factory.mktemp("real"))


def test_the_journal_holds_all_kinds_of_records(lines: list[bytes]) -> None:
    """Twenty and more of them."""
    assert kinds(lines) == set(KINDS)
    assert len(lines) >= 20


def test_damaged_bytes_cost_their_record_alone(tmp_path: Path, lines: list[bytes]) -> None:
    """Whatever a byte becomes; what is whole before and behind it is read."""
    seen = damage_bytes(tmp_path, lines, every=211, seed=1)
    assert seen.faults == []
    assert seen.cases > 200


def test_a_journal_cut_anywhere_keeps_what_was_whole(tmp_path: Path, lines: list[bytes]) -> None:
    """The unfinished line is told of."""
    seen = cut_short(tmp_path, lines, every=97)
    assert seen.faults == []
    assert seen.cases > 100


def test_lines_in_another_order_make_no_other_answer(tmp_path: Path, lines: list[bytes]) -> None:
    """Rows are whole, or they are asked again."""
    seen = rearrange(tmp_path, lines[:11], lines[11:])
    assert seen.faults == []
    assert seen.cases > 50


def test_damage_to_any_other_file_is_told_or_has_no_effect(tmp_path: Path) -> None:
    """No traceback, no other results, and no call that nobody was told of."""
    with simulated(tmp_path, rows=60) as job:
        live(job)
        target = Target(job)
        files = target.files()
        seen = strike_all(target, files, each=1)
    assert {"spent.json", "kept.parquet", "shared.parquet", "part-00000.parquet"} <= {f.name for f in files}
    assert seen.faults == []
    assert seen.told
