"""`diff`: runs compared row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from dataclasses import field as attribute
from typing import Any

from batchrun.diff.against_truth import Score, scores
from batchrun.diff.aligned import in_all
from batchrun.diff.compared import answer_of, field_of, truth_of
from batchrun.diff.examples import Example, changed, examples
from batchrun.diff.gathered import gather
from batchrun.diff.pairs import Pair, pairs, together
from batchrun.diff.side import sides_of
from batchrun.diff.table import Table
from batchrun.diff.took import Change, Took, changes
from batchrun.run_folder.checkpoint.older import has_ids
from batchrun.run_folder.folder import RunFolder

EXAMPLES = 5
"""Changed rows that are given, by default."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run among those that are compared.

    Attributes:
        against_base: how its figures differ from those of the first run; empty for that itself.
        truth: how often it is right, where that is asked for.
    """

    name: str
    folder: str
    took: Took
    against_base: dict[str, Change]
    truth: Score | None


@dataclass(frozen=True, slots=True)
class Diff:
    """Runs, compared by the ids of their rows; the first is the base.

    Attributes:
        compared: the column, or the path, that was.
        truth: the column of the right answers.
        by_number: rows have no ids in some run, and are known by their number in the input.
        rows_in_all, rows_in_some: rows that every run has, and that only some have.
        rows_ok_in_all: rows that are ok in every run.
        rows_changed: those of them whose answer is not the same in every run; `agreement` is the share of the
            others.
        labels: how many different ones there are, where what is compared are labels.
        fleiss_kappa: of more than two runs, where they are labels.
        pairs: every two runs, those with the base first.
        examples: changed rows, the first of them.
        table: all rows side by side, to be read.
    """

    compared: str
    truth: str | None
    by_number: bool
    rows_in_all: int
    rows_in_some: int
    rows_ok_in_all: int
    rows_changed: int
    agreement: float | None
    labels: int | None
    fleiss_kappa: float | None
    runs: tuple[Run, ...]
    pairs: tuple[Pair, ...]
    examples: tuple[Example, ...]
    table: Table = attribute(repr=False, compare=False)

    def document(self) -> dict[str, Any]:
        """The comparison as plain values, without its table; figures of a run stand beside its name."""
        names = [name for name in self.__dataclass_fields__ if name != "table"]
        given = {name: getattr(self, name) for name in names}
        plain = {name: [asdict(item) for item in given[name]] for name in ("runs", "pairs", "examples")}
        for run in plain["runs"]:
            run |= run.pop("took")
        return {**given, **plain}


def diff(
    runs: Sequence[RunFolder], *, field: str | None = None, truth: str | None = None, limit: int = EXAMPLES
) -> Diff:
    """Compare runs by the ids of their rows.

    What is compared is `field`, a dotted path in the results' columns; or else the answer: `parsed` where
    every run has it, `completion` without the space around it otherwise. Only rows that are ok in the runs at
    hand are. Answers are equal when they are the same text (see `as_text`), and right when they are that of
    `truth`, a column of the input as the first run has it that does. Up to `limit` changed rows are given as
    examples. Of each row of each run some 50 bytes are held while they are joined.

    Raises UsageError for fewer than two runs, for runs without a common row and for unknown columns, and
    RunFolderError for a damaged folder.
    """
    sides = sides_of(runs)
    compared = field_of(field, sides) if field else answer_of(sides)
    right = truth_of(truth, sides, compared) if truth else None
    found = gather(sides, compared, right)
    table = Table(tuple(sides), found.lines, compared, right)
    all_runs = together(found, len(sides))
    scored = scores(found.lines, sides, compared, right) if right else [None] * len(sides)
    everywhere = found.lines.select(in_all(len(sides)).alias("at"))["at"]
    return Diff(
        compared=compared.path,
        truth=truth,
        by_number=not all(has_ids(side.run.checkpoint_path) for side in sides),
        rows_in_all=int(everywhere.sum()),
        rows_in_some=int((~everywhere).sum()),
        rows_ok_in_all=all_runs.rows,
        rows_changed=all_runs.changed,
        agreement=all_runs.agreement,
        labels=all_runs.labels,
        fleiss_kappa=all_runs.fleiss_kappa,
        runs=tuple(
            Run(side.name, str(side.run.path), took, changes(took, found.took[0]) if number else {}, score)
            for number, (side, took, score) in enumerate(zip(sides, found.took, scored, strict=True))
        ),
        pairs=tuple(pairs(found, [side.name for side in sides], labels=all_runs.labels is not None)),
        examples=tuple(examples(replace(table, lines=changed(found.lines, len(sides), limit)))),
        table=table,
    )
