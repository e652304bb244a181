"""`batchrun plan`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import TYPES, JobArguments, OptionalValues, as_json, error_types, job_options
from batchrun.cli.text import shown_path, write_json
from batchrun.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.conversation import Turn
    from batchrun.plan import Example, Plan, PlannedModel

_STATES = {
    "new": "never answered: asked",
    "retry": "failed before: asked again",
    "changed": "changed since they were answered",
    "ok": "answered: left as is",
    "failed": "failed, and waiting for a decision (--retry-failed)",
    "kept": "changed, with the older answer kept (stale)",
}


@click.command(cls=OptionalValues)
@job_options
@click.option("--rerun-changed", is_flag=True, help="As with submit.")
@click.option("--retry-failed", metavar=TYPES, help="As with submit.")
@click.option(
    "--example", metavar="ID", help="The row whose request is shown. Default: the first to be asked."
)
@as_json
def command(
    arguments: JobArguments, rerun_changed: bool, retry_failed: str | None, example: str | None, as_json: bool
) -> int:
    """Say what a submit of JOB would do.

    No call is made and nothing is written, also while another submit is running.

    Exit code 2: a submit would be refused, for the reasons given (another one that is running aside).
    Exit code 3: it would stop before its first call, or what is left of the budget may not be enough.
    Exit code 6: finished rows would be paid for again, and the submit would ask what to do about them.
    """
    keep_memory_small()
    from batchrun.cli.progress import showing
    from batchrun.cli.submit import retryable
    from batchrun.cli.terminal import output
    from batchrun.plan import plan

    types = error_types(retry_failed, "--retry-failed", retryable())
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
    if as_json:
        write_json(found.document())
        return found.exit_code
    with output() as console:
        _tell(console, found, rerun_changed=rerun_changed)
        retry = [] if retry_failed is None else [f"--retry-failed={retry_failed}".removesuffix("=")]
        _next(console, found, arguments, [*["--rerun-changed"] * rerun_changed, *retry])
    return found.exit_code


def _tell(console: Console, found: Plan, *, rerun_changed: bool) -> None:
    from batchrun.cli.forecast import tell_forecast
    from batchrun.cli.terminal import fact, headline

    headline(console, f"{found.name}: {found.to_do:,} of {counted(found.facts.rows, 'row')} would be asked")
    if found.forecast.rows:
        tell_forecast(console, found)
    fact(console, "input", f"{found.input}: {', '.join(found.columns) or 'no columns'}")
    for state, meaning in _STATES.items():
        if number := found.rows[state]:
            if state == "changed" and rerun_changed:
                meaning = "changed: asked again, replacing their answers"
            fact(console, counted(number, "row"), meaning)
    _tell_warnings(console, found, rerun_changed=rerun_changed)
    for number, model in enumerate(found.models, start=1):
        fact(console, "model" if number == 1 else f"fallback {number - 1}", _model(model))
    fact(console, "results", shown_path(found.results), whole=True)
    if found.example:
        _tell_example(console, found.example)


def _tell_warnings(console: Console, found: Plan, *, rerun_changed: bool) -> None:
    from batchrun.cli.terminal import fact

    facts = found.facts
    warnings = [
        (facts.bad_rows, "cannot be read: failing as bad_row, at no cost"),
        (facts.unrendered, f"cannot be rendered: failing, at no cost. {facts.first_failure}"),
        (facts.null_printed, "with a null that is printed as nothing"),
    ]
    for number, text in warnings:
        if number:
            fact(console, counted(number, "row"), text, style="yellow")
    if found.rows["changed"] and not rerun_changed:
        rows = counted(found.rows["changed"], "finished row")
        keep = "" if found.left_behind else "--keep-changed keeps them, "  # which would not do
        text = (
            f"a submit stops with exit code 6: {rows} would be paid for again. --rerun-changed replaces "
            f"their answers, {keep}--name NEW keeps both."
        )
        fact(console, "stop", text, style="yellow")
    for warning in found.warnings:
        fact(console, "warning", warning, style="yellow")
    for reason in (*filter(None, [found.left_behind]), *found.stops, *found.obstacles):
        fact(console, "stop", reason, style="yellow")


def _model(model: PlannedModel) -> str:
    concurrency = "concurrency auto up to" if model.auto else "concurrency"
    limits = {"rpm": model.rpm, "tpm": model.tpm, concurrency: model.concurrency}
    said = ", ".join(f"{name} {value:,}" for name, value in limits.items() if value is not None)
    return f"{model.model} at {model.base_url or 'a simulator that batchrun starts'}, {said}"


def _tell_example(console: Console, example: Example) -> None:
    from rich.text import Text

    from batchrun.chat.transcript import flattened
    from batchrun.cli.terminal import fact, headline
    from batchrun.conversation import transcript

    console.print()
    headline(console, f"The request for row {example.row_id} ({example.location})")
    request: dict[str, Any] = dict(example.request)
    for turn in transcript([flattened(message) for message in request.pop("messages")]):
        fact(console, turn.role, _said(turn))
    for turn in transcript([flattened(message) for message in example.turns]):
        fact(console, "then", _said(turn))
    parameters = [f"{name} {_spelled(value)}" for name, value in request.items()]
    fact(console, "with", ", ".join(parameters))
    console.print(Text())


def _said(turn: Turn) -> str:
    return "\n".join(f"{part.label}{part.text}" for part in turn.parts).rstrip("\n")


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _next(console: Console, found: Plan, arguments: JobArguments, options: list[str]) -> None:
    from batchrun.cli.terminal import fact

    if found.to_do and found.sends and not found.obstacles and not found.undecided:
        some = ["--limit", "10"] if found.to_do > 10 and not found.rows["ok"] else []
        fact(console, "next", arguments.again("submit", *options, *some), whole=True)
