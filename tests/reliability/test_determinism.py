"""One job, run twice in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.determinism import DIFFER, KINDS, ROWS, Seen, compare, run


@pytest.mark.long
def test_the_rows_do_not_depend_on_the_order_in_which_they_were_done(tmp_path: Path) -> None:
    """In the order of the input, the same in all columns but those that tell times and calls."""
    seen = Seen()
    first = run(tmp_path / "first", KINDS["64 at once"], seed=0)
    compare(first, run(tmp_path / "other", KINDS["killed and resumed"], seed=1), "killed", seen)
    done = first.sort("finished_at")["row_index"].to_list()
    assert seen.wrong == []
    assert done != list(range(ROWS))
    assert tuple(done) not in seen.orders
    assert set(DIFFER) < set(first.columns)
