"""`batchrun plan`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import TYPES, JobArguments, OptionalValues, as_json, error_types, job_options
from batchrun.cli.text import answer, shown_path
from batchrun.wording import clean_line, counted

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.planning import Plan, PlannedLimit, PlannedModel

_STATES = {
    "new": "new: asked",
    "retry": "failed before: asked again",
    "changed": "changed since they were answered",
    "ok": "unchanged: answered, and left as they are",
    "failed": "failed before: left for a decision (--retry-failed)",
    "kept": "changed: their older answers are kept (stale)",
}

_STRETCHES = {1: "a second", 60: "a minute", 3_600: "an hour", 86_400: "a day", 2_592_000: "a month"}


EXAMPLES = [
    ("What would be asked, and what it would cost and take:", "batchrun plan job.yaml"),
    (
        "The same with another model, in a run folder of its own:",
        "batchrun plan job.yaml --name large --model openai/gpt-4.1",
    ),
    ("The request for one row as it would be sent, whole:", "batchrun plan job.yaml --example T-0007"),
]

EXIT_CODES = {
    "0": "a submit would run, or find nothing to do",
    "2": "a submit would be refused, for the reasons given (another one that is running aside)",
    "3": "it would stop before its first call, or what is left of the budget may not be enough",
    "6": "finished rows would be paid for again, and the submit would ask what to do about them",
}


@click.command(cls=OptionalValues, examples=EXAMPLES, exit_codes=EXIT_CODES)
@job_options
@click.option("--rerun-changed", is_flag=True, help="Plan a submit that asks changed rows again.")
@click.option("--retry-failed", metavar=TYPES, help="Plan a submit that asks failed rows again.")
@click.option(
    "--example", metavar="ID", help="Show the request for this row, whole. Default: three rows, shortened."
)
@as_json
def command(
    arguments: JobArguments, rerun_changed: bool, retry_failed: str | None, example: str | None, as_json: bool
) -> int:
    """Say what a submit of JOB would do.

    What happens to the rows, what it costs and takes, what is likely not meant, within which limits it runs,
    and three of the requests: the first, the longest, and a further one. No call is made and nothing is
    written, also while another submit is running.
    """
    keep_memory_small()
    from batchrun.cli.progress import showing
    from batchrun.outcome import RETRYABLE
    from batchrun.planning import plan

    types = error_types(retry_failed, "--retry-failed", RETRYABLE)
    job = arguments.load()
    with showing(as_json=as_json) as progress:
        progress.phase(f"reading {job.input.place}")
        found = plan(
            job,
            env=arguments.environment(),
            on_rows=progress.read,
            rerun_changed=rerun_changed,
            retry_failed=types,
            example=example,
        )
    retry = [] if retry_failed is None else [f"--retry-failed={retry_failed}".removesuffix("=")]

    def tell(console: Console) -> None:
        _tell(console, found, arguments, rerun_changed=rerun_changed)
        _next(console, found, arguments, [*["--rerun-changed"] * rerun_changed, *retry])

    answer(found.document(), tell, as_json=as_json)
    return found.exit_code


def _tell(console: Console, found: Plan, arguments: JobArguments, *, rerun_changed: bool) -> None:
    from batchrun.cli.examples import tell_examples
    from batchrun.cli.forecast import tell_forecast
    from batchrun.cli.terminal import fact, headline

    headline(console, f"{found.name}: {found.to_do:,} of {counted(found.facts.rows, 'row')} would be asked")
    if found.forecast.rows:
        tell_forecast(console, found)
    fact(console, "input", f"{found.input}: {', '.join(found.columns) or 'no columns'}")
    for number, line in enumerate(_rows(found, arguments, rerun_changed=rerun_changed)):
        fact(console, "" if number else "rows", line)
    _tell_warnings(console, found, rerun_changed=rerun_changed)
    for number, model in enumerate(found.models):
        fact(console, f"fallback {number}" if number else "model", _model(model))
        for at, line in enumerate(_limits(model)):
            fact(console, "" if at else "limits", line)
    fact(console, "checks", _checks(found.checks))
    fact(console, "results", shown_path(found.results), whole=True)
    console.print()
    tell_examples(console, found.examples)


def _rows(found: Plan, arguments: JobArguments, *, rerun_changed: bool) -> Iterator[str]:
    """How many rows there are of each kind, and what happens to them."""
    for state, meaning in _STATES.items():
        number = found.rows[state]
        if state == "new":
            number = max(0, number - found.with_provider)
        if number:
            if state == "changed" and rerun_changed:
                meaning = "changed: asked again, replacing their answers"
            yield f"{number:,} {meaning}"
    if found.with_provider:
        where = f"with the provider already, in {counted(len(found.batches), 'batch')}"
        yield f"{found.with_provider:,} {where}: fetched, not asked again"
    if found.unfit:
        yield f"{found.unfit:,} of the new ones failed by the schema before its edit"
    if number := found.rows["removed"]:
        drops = arguments.again("gc")
        yield f"{number:,} removed: not among the job's rows any more; {drops} drops their answers"


def _tell_warnings(console: Console, found: Plan, *, rerun_changed: bool) -> None:
    from batchrun.cli.terminal import fact
    from batchrun.submitting.changes import REPARSE

    facts = found.facts
    warnings = [
        (facts.bad_rows, "cannot be read: failing as bad_row, at no cost"),
        (facts.unrendered, f"cannot be rendered: failing, at no cost. {facts.first_failure}"),
        (facts.null_printed, "with a null that is printed as nothing"),
    ]
    for number, text in warnings:
        if number:
            fact(console, counted(number, "row"), text, style="yellow")
    if (changed := found.rows["changed"] + found.unfit) and not rerun_changed:
        rows = counted(changed, "finished row")
        # where rows are left behind, keeping would not do
        keeps = found.rows["changed"] and not found.left_behind
        keep = "--keep-changed keeps them, " if keeps else ""
        text = (
            f"a submit stops with exit code 6: {rows} would be paid for again. "
            f"{REPARSE if found.reparse else ''}--rerun-changed replaces their answers, {keep}"
            "--name NEW keeps both."
        )
        fact(console, "stop", text, style="yellow")
    for warning in found.warnings:
        fact(console, "warning", warning, style="yellow")
    for reason in (*filter(None, [found.left_behind]), *found.stops, *found.obstacles):
        fact(console, "stop", reason, style="yellow")


def _model(model: PlannedModel) -> str:
    return f"{model.model} at {model.base_url or 'a simulator that batchrun starts'}"


def _limits(model: PlannedModel) -> Iterator[str]:
    """Each limit, and in brackets who says so."""
    rates = [limit for limit in model.limits if not limit.counts.startswith("calls")]
    for limit in rates:
        stretch = "in a time that is not clear yet" if limit.seconds is None else _stretch(limit.seconds)
        yield f"{limit.most:,} {limit.counts.replace('-', ' ')} {stretch} ({_source(limit)})"
    if not rates:
        yield "requests and tokens: none known (answers may tell of some)"
    begins = next((limit for limit in model.limits if limit.counts == "calls at first"), None)
    for limit in model.limits:
        if limit.counts == "calls at once":
            most = counted(limit.most, "call")
            yield f"{most} at once{', at most' if begins else ''} ({_source(limit)}){_beginning(begins)}"


def _checks(checks: dict[str, str]) -> str:
    """What a finished run is held to, and what every job is held to that gives nothing."""
    if checks == {"failed": "<= 0"}:
        return "no row may fail"
    return "; ".join(f"{clean_line(name)} {wanted}" for name, wanted in checks.items())


def _stretch(seconds: float) -> str:
    return _STRETCHES.get(round(seconds), f"in {seconds:g} s")


def _source(limit: PlannedLimit) -> str:
    return limit.key or ("told by its answers" if limit.source == "endpoint" else "the default")


def _beginning(begins: PlannedLimit | None) -> str:
    if begins is None:
        return ""
    return f", beginning with {begins.most:,}{' by the last submit' if begins.source == 'endpoint' else ''}"


def _next(console: Console, found: Plan, arguments: JobArguments, options: list[str]) -> None:
    from batchrun.cli.terminal import fact

    if found.reparse and found.undecided:
        fact(console, "next", arguments.again("reparse", "--dry-run"), whole=True)
    if found.with_provider and not found.to_do and not found.obstacles:
        fact(console, "next", arguments.again("submit"), whole=True)
    if found.to_do and found.sends and not found.obstacles and not found.undecided:
        tries = found.to_do > 10 and not found.rows["ok"] and found.forecast.batches is None
        some = ["--limit", "10"] if tries else []  # ten rows of a batch take as long as all of them
        fact(console, "next", arguments.again("submit", *options, *some), whole=True)
