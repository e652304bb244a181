"""Runs beside each other on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from batchrun.cli.terminal import fact, headline
from batchrun.diff import Diff, Run
from batchrun.diff.examples import Example
from batchrun.wording import clean_line, counted, duration, on_one_line, spelled, usd

_MISTAKES = 5
"""Confusions of a run that are shown."""

_LONGEST = 500
"""Characters of an answer where no terminal says how many there is room for."""

_BEFORE = 20
"""Characters that are shown before the first difference of long answers."""

_PAIRED = 4
"""Runs of which every two are shown."""

_FIGURES = ("cost_usd", "cost_usd_per_row", "latency_p50", "latency_p95", "tokens")


def tell(console: Console, found: Diff) -> None:
    """Write how runs compare."""
    names = ", ".join(run.name for run in found.runs)
    headline(console, f"{names}: {_differ(found)}")
    for label, text in _facts(found):
        fact(console, label, text)
    _print(console, _agreement(found))
    _print(console, _figures(found.runs))
    if found.truth:
        _print(console, _mistakes(found.runs))
    for example in found.examples:
        _tell_example(console, example)


def _differ(found: Diff) -> str:
    if found.agreement is None:
        return "no row is ok in every run"
    return (
        f"{found.rows_changed:,} of {counted(found.rows_ok_in_all, 'row')} differ ({1 - found.agreement:.1%})"
    )


def _facts(found: Diff) -> Iterable[tuple[str, str]]:
    rows = f"{found.rows_in_all:,} in every run, {found.rows_in_some:,} only in some"
    yield "rows", f"{rows}; {found.rows_ok_in_all:,} ok in every run"
    labels = f", {counted(found.labels, 'different value')}" if found.labels else ""
    if found.by_number:
        yield "", "told apart by their number in the input: not every job has an input.id"
    yield "compared", f"{found.compared}{labels}"
    if found.fleiss_kappa is not None:
        yield "agreement", f"Fleiss' kappa {found.fleiss_kappa:.2f}"
    beside_base = found.pairs[len(found.runs) - 1 :] if len(found.runs) <= _PAIRED else ()
    for pair in beside_base:
        kappa = "" if pair.cohen_kappa is None else f", kappa {pair.cohen_kappa:.2f}"
        share = "no row to compare" if pair.agreement is None else f"{pair.agreement:.1%} alike{kappa}"
        yield "", f"{pair.first} and {pair.second}: {share}"
    for run in found.runs:
        if run.took.stale:
            yield "stale", f"{counted(run.took.stale, 'answer')} of {run.name}: to an older prompt"
    if found.truth:
        yield "truth", "; ".join([found.truth, *_about_truth(found.runs)])


def _about_truth(runs: Sequence[Run]) -> Iterable[str]:
    """What must be known to compare how often runs are right."""
    scores = [(run.name, run.truth) for run in runs if run.truth]
    if len({score.rows for _, score in scores}) > 1:
        yield f"known for {', '.join(f'{score.rows:,} rows of {name}' for name, score in scores)}"
    if failed := [f"{score.failed:,} of {name}" for name, score in scores if score.failed]:
        yield f"failed rows count as wrong: {', '.join(failed)}"


def _agreement(found: Diff) -> Table:
    """How the rows of each run ended, and how far they are the base's."""
    heads = ["run", "rows", "ok", "failed", "changed", "alike"]
    kappa = any(pair.cohen_kappa is not None for pair in found.pairs)
    apart = any(pair.mean_absolute_difference is not None for pair in found.pairs)
    heads += ["kappa"] * kappa + ["mean diff"] * apart + ["accuracy"] * (found.truth is not None)
    table = _table(heads)
    for run, pair in zip(found.runs, [None, *found.pairs], strict=False):
        cells = [f"{run.took.rows:,}", f"{run.took.ok:,}", f"{run.took.failed:,}"]
        cells += [f"{pair.changed:,}", _percent(pair.agreement)] if pair else ["", ""]
        if kappa:
            cells.append(_number(pair.cohen_kappa, ".2f") if pair else "")
        if apart:
            cells.append(_number(pair.mean_absolute_difference, ".3g") if pair else "")
        if run.truth:
            cells.append(_percent(run.truth.accuracy))
        _add(table, run.name, cells)
    return table


def _figures(runs: Sequence[Run]) -> Table:
    """What each run cost and took, and below it how that differs from the base."""
    table = _table(["run", "cost", "a row", "p50", "p95", "tokens"])
    for run in runs:
        took = run.took
        cells = [_usd(took.cost_usd), _usd(took.cost_usd_per_row)]
        cells += [_duration(took.latency["p50"]), _duration(took.latency["p95"])]
        cells.append("-" if took.tokens is None else f"{took.tokens:,}")
        _add(table, run.name, cells)
        ratios = [run.against_base[name].ratio for name in _FIGURES] if run.against_base else []
        if any(ratio is not None for ratio in ratios):
            _add(table, "", [_change(ratio) for ratio in ratios], style="dim")
    return table


def _change(ratio: float | None) -> str:
    """How much more than the base's, from ten times as much on how many times."""
    if ratio is None:
        return ""
    return f"{ratio - 1:+.0%}" if ratio < 10 else f"{ratio:,.0f} times"


def _mistakes(runs: Sequence[Run]) -> Table:
    """What each run most often took for what."""
    table = Table("run", "truth", "answer", box=None, pad_edge=False, header_style="dim")
    table.add_column("rows", justify="right")
    for run in runs:
        mistakes = run.truth.mistakes()[:_MISTAKES] if run.truth else []
        for number, mistake in enumerate(mistakes):
            answer = "(none)" if mistake.answer is None else mistake.answer
            texts = [run.name if number == 0 else "", mistake.truth, answer, f"{mistake.rows:,}"]
            table.add_row(*(_text(text) for text in texts))
    return table


def _tell_example(console: Console, example: Example) -> None:
    console.print()
    headline(console, example.row_id)
    said = {name: _said(example, name) for name in example.answers}
    width = console.width if console.is_terminal else _LONGEST
    truth = [] if example.truth is None else [("truth", clean_line(spelled(example.truth)))]
    label = min(max(cell_len(clean_line(name)) for name, _ in [*said.items(), *truth]), width // 3)
    room = width - label - 4
    skipped = _skipped(list(said.values()), room)
    texts = [(name, f"…{text[skipped:]}" if skipped else text) for name, text in said.items()]
    for name, text in [*texts, *truth]:
        line = Text.assemble("  ", (_cut(clean_line(name), label, pad=True), "dim"), "  ", _cut(text, room))
        console.print(line, soft_wrap=True)


def _cut(text: str, columns: int, *, pad: bool = False) -> str:
    """As much of a line as so many columns of a terminal hold."""
    line = Text(text)
    line.truncate(columns, overflow="ellipsis", pad=pad)
    return line.plain


def _said(example: Example, name: str) -> str:
    if example.status[name] is None:
        return "(no such row)"
    answer = example.answers[name]
    line = on_one_line(answer) if isinstance(answer, dict | list) else spelled(answer)
    text = "(nothing)" if answer is None else clean_line(line.strip())
    return text if example.status[name] == "ok" else f"({example.status[name]}) {text}"


def _skipped(texts: Sequence[str], room: int) -> int:
    """How many characters to leave out at the front, so that the first difference is seen."""
    letters = enumerate(zip(*texts, strict=False))
    alike = next((place for place, here in letters if len(set(here)) > 1), min(map(len, texts)))
    return alike - _BEFORE if alike > room - _BEFORE else 0


def _table(heads: Sequence[str]) -> Table:
    first, *others = heads
    table = Table(first, box=None, pad_edge=False, header_style="dim")
    for head in others:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _add(table: Table, name: str, cells: Sequence[str], *, style: str = "") -> None:
    table.add_row(_text(name), *(Text(cell, style=style) for cell in cells))


def _text(text: str) -> Text:
    return Text(clean_line(text), overflow="ellipsis", no_wrap=True)


def _print(console: Console, table: Table) -> None:
    if table.row_count:
        console.print()
        console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(number: float | None, form: str) -> str:
    return "-" if number is None else format(number, form)


def _usd(amount: float | None) -> str:
    return "-" if amount is None else usd(amount)


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
