"""Values of the hot path: frozen for the type checker, plain when run."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from batchrun.outcome import Completed, Failed, Response, Usage


def test_the_type_checker_finds_code_that_changes_a_value() -> None:
    """mypy fails on this file when the comment is not needed any more."""
    completed = Completed(1)
    completed.call = 2  # type: ignore[misc]  # what must not pass


def test_a_value_takes_no_other_members() -> None:
    """A misspelled one is an error, and none carries a dictionary of its own."""
    with pytest.raises(AttributeError):
        Completed(1).calls = 2  # type: ignore[attr-defined]  # what must not pass
    assert not hasattr(Completed(1), "__dict__")


def test_values_compare_and_hash_by_their_members() -> None:
    """Also beside values of another kind with the same members."""
    assert {Completed(1), Completed(1), Completed(2)} == {Completed(2), Completed(1)}
    assert Completed(1) != Failed(1)  # type: ignore[arg-type]  # the members alone are alike


def test_a_changed_copy_leaves_its_original() -> None:
    """`dataclasses` works on values as on any other of its classes."""
    first = Response(200, {}, b"{}", 0.1)
    assert replace(first, status=500) == Response(500, {}, b"{}", 0.1)
    assert first.status == 200
    assert asdict(Usage(1, 2, 3)) == {
        **asdict(Usage()),
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
    }
