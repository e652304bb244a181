"""How often a run is right, and what it takes for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from batchrun.diff.compared import Compared, Truth
from batchrun.diff.side import Side

MOST = 1_000
"""Labels that are told of, and confusions: the most frequent."""


@dataclass(frozen=True, slots=True)
class Label:
    """How well a run tells one label.

    Attributes:
        rows: those whose truth it is, failed ones too; `right`: those of them that got it.
        answered: rows that got it.
        precision, recall, f1: right of `answered`, right of `rows`, and their harmonic mean; None where
            there is nothing to divide by.
    """

    label: str
    rows: int
    right: int
    answered: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Rows whose truth and whose answer are these; right ones, too. No answer is null."""

    truth: str
    answer: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class Score:
    """A run against the truth.

    Attributes:
        rows: those of the run for which a truth is known; `failed` ones among them count as wrong.
        accuracy: the share of them that is right.
        labels, confusions: the most frequent first, at most MOST of each; confusions are of rows that are ok.
        confused_otherwise: rows of the confusions that were left out.
    """

    rows: int
    right: int
    failed: int
    accuracy: float | None
    labels: tuple[Label, ...]
    confusions: tuple[Confusion, ...]
    confused_otherwise: int

    def mistakes(self) -> list[Confusion]:
        """The confusions that are wrong, the most frequent first."""
        return [found for found in self.confusions if found.answer != found.truth]


@dataclass(frozen=True, slots=True)
class Counts:
    """The same by the codes of texts: `labels` (truth, rows, right, answered) and `confusions` (truth,
    answer, rows)."""

    rows: int
    right: int
    failed: int
    labels: pl.DataFrame
    confusions: pl.DataFrame
    confused_otherwise: int

    def truths(self) -> set[int]:
        """The codes of truths that are told of."""
        return {*self.labels["truth"], *self.confusions["truth"]}

    def answers(self) -> set[int]:
        """The codes of answers that are."""
        return set(self.confusions["answer"].drop_nulls())


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


def count(lines: pl.DataFrame) -> Counts:
    """Count the rows of a run: `ok`, `code` and `truth` of each; a null truth is none."""
    known = lines.drop_nulls(["ok", "truth"])
    answered = known.filter("ok")
    pairs = answered.group_by("truth", answer="code").agg(rows=pl.len().cast(pl.Int64))
    pairs = pairs.sort(["rows", "truth", "answer"], descending=[True, False, False])
    told = pairs.head(MOST)
    right = pairs.filter(pl.col("truth") == pl.col("answer"))
    labels = known.group_by("truth").agg(rows=pl.len().cast(pl.Int64))
    labels = labels.sort(["rows", "truth"], descending=[True, False]).head(MOST)
    by_answer = pairs.group_by(truth="answer").agg(answered=pl.col("rows").sum())
    labels = labels.join(right.select("truth", right="rows"), on="truth", how="left", maintain_order="left")
    labels = labels.join(by_answer, on="truth", how="left", maintain_order="left")
    return Counts(
        rows=len(known),
        right=int(right["rows"].sum()),
        failed=len(known) - len(answered),
        labels=labels.with_columns(pl.col("right", "answered").fill_null(0)),
        confusions=told,
        confused_otherwise=len(answered) - int(told["rows"].sum()),
    )


def score(counts: Counts, texts: dict[int, str]) -> Score:
    """The counts in words: `texts` of their codes."""
    confusions = [
        Confusion(texts[truth], None if answer is None else texts[answer], rows)
        for truth, answer, rows in counts.confusions.iter_rows()
    ]
    labels = [_label(texts[code], *numbers) for code, *numbers in counts.labels.iter_rows()]
    return Score(
        rows=counts.rows,
        right=counts.right,
        failed=counts.failed,
        accuracy=_share(counts.right, counts.rows),
        labels=tuple(sorted(labels, key=lambda found: (-found.rows, found.label))),
        confusions=tuple(
            sorted(confusions, key=lambda found: (-found.rows, found.truth, found.answer or ""))
        ),
        confused_otherwise=counts.confused_otherwise,
    )


def _label(label: str, rows: int, right: int, answered: int) -> Label:
    precision, recall = _share(right, answered), _share(right, rows)
    return Label(label, rows, right, answered, precision, recall, _share(2 * right, rows + answered))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
