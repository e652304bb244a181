"""A submit's summary for people: what was done, what failed, where the results are, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from glob import escape
from pathlib import Path
from typing import Any

from rich.console import Console

from batchrun.checks.verdict import missed
from batchrun.cli.checks import rows_against, tell_checks
from batchrun.cli.failures import tell_failures
from batchrun.cli.going_on import going_on
from batchrun.cli.options import JobArguments
from batchrun.cli.terminal import error_console, fact, headline
from batchrun.cli.text import shown_path
from batchrun.outcome import NEVER_SENT, PASSING
from batchrun.run_folder.checkpoint.with_providers import go_on
from batchrun.storage import is_remote
from batchrun.summary import Summary
from batchrun.wording import counted, duration, tokens_of, usd

_STYLES = {
    "finished": "bold green",
    "waiting": "bold cyan",
    "stopped": "bold yellow",
    "interrupted": "bold yellow",
}


def tell(summary: Summary, arguments: JobArguments, published: Path, *, rerun_changed: bool = False) -> None:
    """Write the summary to standard error; `published` are the results on this machine, if there are any."""
    console = error_console()
    if not summary.submit["rows"] and not summary.pending and not summary.stopped_by:
        headline(console, _nothing_to_do(summary), "bold")
        tell_checks(console, summary.checks, pending=0)
    else:
        _whole(console, summary, published)
    for label, text in next_steps(summary, arguments, rerun_changed=rerun_changed):
        fact(console, label, text, whole=True)


def _nothing_to_do(summary: Summary) -> str:
    rows = "the 1 row is done" if summary.rows == 1 else f"all {summary.rows:,} rows are done"
    failed = f", {summary.failed:,} of them failed" if summary.failed else ""
    stale = f", {summary.stale:,} of them stale (--rerun-changed asks again)" if summary.stale else ""
    return f"{summary.name}: nothing to do, {rows}{failed}{stale}{_missed(summary)}"


def _missed(summary: Summary) -> str:
    """How many checks do not hold of a run that is finished; empty where all do."""
    number = 0 if summary.pending or summary.stopped_by else len(missed(summary.checks))
    return f"; {counted(number, 'check')} {'does' if number == 1 else 'do'} not hold" if number else ""


def _whole(console: Console, summary: Summary, published: Path) -> None:
    done = summary.submit
    style = "bold red" if _missed(summary) else _STYLES.get(summary.state, "bold")
    headline(console, f"{summary.name}: {_state(summary)}{_missed(summary)}", style)
    if summary.stopped_by and is_news(summary.state, summary.pending, summary.batches):
        fact(console, "stopped by", summary.stopped_by.message, style="yellow")
    fact(console, "rows", row_counts(summary.ok, summary.failed, summary.pending, summary.stale))
    if summary.changed:
        older = "keeps its answer" if summary.changed == 1 else "keep their answers"
        text = f"{summary.changed:,} of the pending {older} to the older prompt until asked again"
        fact(console, "", text)
    for label, text in by_batches(summary):
        fact(console, label, text)
    _paid(console, summary)
    rate = f", {done['rows'] / done['seconds']:,.1f} rows/s" if done["seconds"] else ""
    calls = f", {counted(done['calls'], 'call')}"
    if done["hedged"]:
        calls += f", {done['hedged']:,} of them second copies"
    if done["tool_calls"]:
        calls += f", {counted(done['tool_calls'], 'function call')}"
    fact(console, "this time", f"{counted(done['rows'], 'row')} in {duration(done['seconds'])}{rate}{calls}")
    if recovered := done.get("recovered"):
        answers = counted(recovered, "answer")
        fact(console, "", f"{answers} recovered from stored completions instead of being paid for again")
    _concerns(console, summary)
    _failures(console, summary, published)
    tell_checks(console, summary.checks, pending=summary.pending)
    if not summary.ok + summary.failed:
        return
    if not published.exists():
        fact(console, "results", "not published yet: the next submit does it, `batchrun show` sees them now")
        return
    results = shown_path(summary.results)
    fact(console, "results", results, whole=True)
    folder, files = results.rsplit("/", 1)
    read = f'pl.read_parquet("{escape(folder)}/{files}")'
    if is_remote(results):
        read = f'batchrun.scan_results("{summary.run_folder}")'
    fact(console, "read them", read, whole=True)


def _state(summary: Summary) -> str:
    if summary.state == "finished":
        return f"finished, {counted(summary.rows, 'row')}"
    pending = f"{summary.pending:,} of {counted(summary.rows, 'row')} pending"
    if summary.state == "waiting":
        batches = counted(len(summary.batches), "batch") if summary.batches else "room at the provider"
        return f"waiting for {batches}, {pending}"
    if not summary.stopped_by:
        return f"{pending} as asked"
    return f"{summary.state}, {pending}" if summary.pending else summary.state


def is_news(state: str, pending: int, batches: Iterable[Mapping[str, Any]]) -> bool:
    """Whether why a submit ended is told by more than the batches that it waits for."""
    return state != "waiting" or pending > sum(batch["rows"] for batch in batches)


def row_counts(ok: int, failed: int, pending: int, stale: int) -> str:
    """The rows of a run by how they stand."""
    parts = [f"{ok:,} ok", f"{failed:,} failed" if failed else "", f"{pending:,} pending" if pending else ""]
    old = f" ({stale:,} stale: of an older prompt)" if stale else ""
    return ", ".join(filter(None, parts)) + old


def by_batches(summary: Summary) -> Iterator[tuple[str, str]]:
    """How many rows came by a provider's batches and how many did not, and what is still there."""
    if known := {name: way for name, way in summary.ways.items() if way["rows"]}:
        texts = {"batch": "by batch", "realtime": "in realtime"}
        said = (f"{counted(way['rows'], 'row')} {texts[name]}{_for(way)}" for name, way in known.items())
        yield "answered", ", ".join(said)
    if rows := [batch["rows"] for batch in summary.batches if batch["batch_id"]]:
        yield "batches", f"{go_on(rows)}: submit again fetches them; `batchrun cancel` ends them"
    for batch in summary.batches:
        if not batch["batch_id"]:
            size = counted(batch["rows"], "row")
            yield "", f"whether a batch of {size} was created is not known: submit again looks for it"


def _for(way: Mapping[str, Any]) -> str:
    return "" if way["cost_usd"] is None else f" for {usd(way['cost_usd'])}"


def _paid(console: Console, summary: Summary) -> None:
    if tokens := tokens_of(summary.usage):
        fact(console, "tokens", tokens)
    if cost := money(summary):
        fact(console, "cost", cost)
    quantiles = [f"{name} {duration(value)}" for name, value in summary.latency.items() if value is not None]
    if quantiles:
        fact(console, "latency", ", ".join(quantiles[:2]))
    if summary.possibly_paid:
        text = f"{counted(summary.possibly_paid, 'call')} sent without an answer: possibly paid"
        fact(console, "unanswered", text, style="yellow")


def money(summary: Summary) -> str:
    """What the run cost and saved, and what that leaves of its budget; empty where nothing is known."""
    parts = [] if summary.cost_usd is None else [usd(summary.cost_usd)]
    if summary.saved_usd:
        cached = summary.usage.get("cached_tokens") or 0
        parts.append(f"{usd(summary.saved_usd)} saved by the provider's cache ({cached:,} cached tokens)")
    cap = summary.budget.get("cost_usd")
    spent = summary.spent["cost_usd"]
    if cap is not None and spent is None:
        parts.append(f"not known, and so nothing counts against the budget of {usd(cap)}")
    elif cap is not None and summary.budget["per"] == "run":
        parts.append(f"{usd(spent)} of {usd(cap)} spent or held")
    return "; ".join(parts)


def _concerns(console: Console, summary: Summary) -> None:
    """What went well by the letter, and perhaps not as it was meant."""
    if summary.cut:
        rows = counted(summary.cut, "row")
        text = f"{rows} ok, but cut off at the token limit (fail_on: truncated fails such rows)"
        fact(console, "cut off", text, style="yellow")
    if errors := summary.submit["tool_errors"]:
        text = f"{counted(errors, 'function call')} gave the model an error: log.jsonl names them"
        fact(console, "functions", text, style="yellow")


def _failures(console: Console, summary: Summary, published: Path) -> None:
    if not summary.errors:
        return
    from batchrun.show.show import example_failures

    tell_failures(console, summary.errors, example_failures(published))


def next_steps(summary: Summary, arguments: JobArguments, *, rerun_changed: bool) -> list[tuple[str, str]]:
    """What the user most likely wants now, each with its command line."""
    steps = []
    stop = summary.stopped_by
    if summary.pending:
        # rows that were changed are still among the pending ones
        options = ["--rerun-changed"] * rerun_changed
        if not stop and summary.submit["rows"]:  # as many as --limit has allowed
            steps.append(("estimate", arguments.again("plan", *options)))
        kind, message = (stop.kind, stop.message) if stop else (None, "")
        steps.append(("to go on", going_on(kind, message, arguments, *options)))
    if summary.failed:
        steps.append(("see failed", arguments.again("show", "--failed")))
    steps += rows_against(summary.checks, arguments)
    told = stop is not None and stop.kind == "canary"
    waiting = set(summary.errors) - PASSING - NEVER_SENT
    if summary.failed and summary.submit["rows"] == 0 and waiting and not told:
        steps.append(("ask again", arguments.again("submit", "--retry-failed")))
    return steps
