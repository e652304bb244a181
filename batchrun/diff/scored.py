"""Runs against the truth, with the texts of what they confuse."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from batchrun.diff.against_truth import Score, count, score
from batchrun.diff.compared import Compared, Truth
from batchrun.diff.side import Side


def scores(lines: pl.DataFrame, sides: Sequence[Side], compared: Compared, truth: Truth) -> list[Score]:
    """How each run does against the truth: `lines` as `align` gives them, with its code.

    An answer is right when it is the same text (`as_text`): 3 and "3" are the same, "Yes" and "yes" are not.
    """
    counts = [
        count(lines.select(ok=f"ok_{number}", code=f"code_{number}", truth="truth"))
        for number in range(len(sides))
    ]
    texts = _texts(truth.side, truth.column, set().union(*(counted.truths() for counted in counts)))
    found = []
    for side, counted in zip(sides, counts, strict=True):
        texts |= _texts(side, compared, counted.answers() - texts.keys())
        found.append(score(counted, texts))
    return found


def _texts(side: Side, compared: Compared, codes: set[int]) -> dict[int, str]:
    """The texts that these codes stand for, as far as the run has them."""
    wanted, texts = pl.DataFrame({"code": list(codes)}, schema={"code": pl.UInt64}), dict[int, str]()

    def columns(schema: pl.Schema) -> list[pl.Expr]:
        found = compared.find(schema)
        return [found.code.alias("code"), found.text.alias("text")]

    frames = side.frames(columns)
    while len(texts) < len(wanted) and (frame := next(frames, None)) is not None:
        texts.update(frame.join(wanted, on="code", how="semi").unique("code").iter_rows())
    return texts
