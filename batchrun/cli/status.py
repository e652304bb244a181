"""`batchrun status`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from batchrun.cli.going_on import going_on
from batchrun.cli.help import Explained
from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import JobArguments, as_json, run_options
from batchrun.cli.text import answer, shown_path
from batchrun.wording import counted, duration, moment, tokens_of, usd

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.status.status import Status

_STATES = {
    "running": "bold cyan",
    "paused": "bold yellow",
    "finished": "bold green",
    "waiting": "bold cyan",
    "killed": "bold yellow",
    "stopped": "bold yellow",
    "interrupted": "bold yellow",
    "not started": "bold yellow",
}


EXAMPLES = [
    ("How a run stands, also from another shell while it is running:", "batchrun status job.yaml"),
    ("By its folder, where the job file is not at hand:", "batchrun status runs/job"),
    ("The same for a program:", "batchrun status job.yaml --json"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@run_options
@as_json
def command(arguments: JobArguments, as_json: bool) -> None:
    """Say how a run stands: of a job file, or in a run folder.

    Also while a submit is running, and after one was killed.
    """
    keep_memory_small()
    with _found(arguments) as found:
        answer(found.document(), lambda console: _tell(console, found, arguments), as_json=as_json)


@contextmanager
def _found(arguments: JobArguments) -> Iterator[Status]:
    """The status, for a block in which what is wrong in the run folder is told as such."""
    from batchrun.run_folder.diagnosis import reading
    from batchrun.status.status import status

    place, folder = arguments.place()
    if place is not None:
        from batchrun.remote.copies import LocalCopy
        from batchrun.status.elsewhere import status_elsewhere

        if found := status_elsewhere(LocalCopy(place, folder)):
            yield _asked(found, arguments)
            return
    run = arguments.run()
    with reading(run):
        found = _asked(status(run), arguments)
        yield found if place is None else replace(found, run_folder=str(place))


def _asked(found: Status, arguments: JobArguments) -> Status:
    """The same with what the providers say of its batches now, where a job file says how they are asked.

    A run folder's own copy of the job is not taken for that: whoever wrote the folder would choose where the
    keys go.
    """
    if not found.batches:
        return found
    if arguments.names_run:
        why = "the job file says how the provider is asked: name it"
        return replace(found, batches=tuple(replace(batch, note=why) for batch in found.batches))
    from batchrun.batches.glance import look_now

    return replace(found, batches=look_now(found.batches, arguments.load(), arguments.environment()))


def _tell(console: Console, found: Status, arguments: JobArguments) -> None:
    from batchrun.cli.batches import tell_batches
    from batchrun.cli.checks import tell_checks
    from batchrun.cli.failures import tell_failures
    from batchrun.cli.summary import is_news, row_counts
    from batchrun.cli.terminal import fact, headline

    on = f" on {found.host}" if found.host else ""
    headline(console, f"{found.name}: {_state(found)}{on}", _STATES.get(found.state, "bold"))
    if found.state == "killed":
        fact(console, "", "the last submit was cut off; every answer that it received is kept")
    if found.state == "not started":
        fact(console, "", "no submit has asked for a row yet; one may have been refused before that")
    if found.stopped_by and is_news(found.state, found.pending or 0, map(asdict, found.batches)):
        fact(console, "stopped by", found.stopped_by["message"], style="yellow")
    _tell_live(console, found)
    rows = row_counts(found.ok, found.failed, found.pending or 0, found.stale)
    total = "the input was never read to its end" if found.rows is None else f"{found.rows:,} in all"
    fact(console, "rows", f"{rows} ({total})")
    tell_batches(console, found)
    if found.changed:
        fact(console, "changed", f"{_of_them(found.changed)} an older prompt: {_ways(found)}", style="yellow")
    tell_failures(console, found.errors)
    tell_checks(console, found.checks, pending=found.pending or found.rerun)
    if found.possibly_paid:
        what = "in flight, or possibly paid" if found.is_running else "possibly paid"
        fact(console, "unanswered", f"{counted(found.possibly_paid, 'call')} sent without an answer: {what}")
    for label, text in _money(found):
        fact(console, label, text)
    if last := found.last_submit:
        spent = f"{counted(last['rows'], 'row')} in {duration(last['seconds'])}"
        began = moment(last["started_at"])
        fact(console, "last submit", f"{began}, {spent}")
    _tell_places(console, found)
    for label, text in _next(found, arguments):
        fact(console, label, text, whole=True)


def _state(found: Status) -> str:
    """Where nothing stopped the last submit, it ended with rows pending because `--limit` said so."""
    as_asked = found.state == "stopped" and found.stopped_by is None
    return "rows pending, as --limit asked" if as_asked else found.state


def _tell_live(console: Console, found: Status) -> None:
    """How the running submit gets on."""
    if found.live is None:
        return
    from batchrun.cli.snapshot import batches, details, figures, hindrance
    from batchrun.cli.terminal import fact
    from batchrun.progress.snapshot import Snapshot

    with suppress(TypeError, LookupError):  # another version's
        snapshot = Snapshot.from_document(found.live)
        done = f"{snapshot.finished:,} of {counted(snapshot.to_do, 'row')}"
        fact(console, "this submit", ", ".join([done, *figures(snapshot)]))
        for more in (batches(snapshot), ", ".join(details(snapshot))):
            if more:
                fact(console, "", more)
        if why := hindrance(snapshot):
            fact(console, "now", why, style="yellow")


def _money(found: Status) -> list[tuple[str, str]]:
    """What the run took: by its rows as they were published, and of its budget by all calls."""
    told = []
    since = "" if found.up_to_date else ", when the last submit ended"
    if tokens := tokens_of(found.usage):
        told.append(("tokens", f"{tokens}{since}"))
    if found.cost_usd is not None:
        saved = f"; {usd(found.saved_usd)} saved by the provider's cache" if found.saved_usd else ""
        told.append(("cost", f"{usd(found.cost_usd)}{saved}{since}"))
    if taken := ", ".join(_taken(found)):
        most = "" if found.up_to_date else "at most "
        label = "budget" if any(found.budget.get(kind) is not None for kind in found.spent) else "taken"
        told.append((label, f"{most}{taken} spent or held"))
    return told


def _taken(found: Status) -> Iterator[str]:
    """What is spent or held of the amounts that the budget caps; of an open run, of all amounts."""
    caps = found.budget if found.budget.get("per") == "run" else {}
    for kind, unit in (("cost_usd", ""), ("tokens", " tokens"), ("requests", " requests")):
        write = "{:,}".format if unit else usd
        amount, cap = found.spent.get(kind), caps.get(kind)
        if cap is not None:
            yield f"{'an unknown part' if amount is None else write(amount)} of {write(cap)}{unit}"
        elif amount and not found.up_to_date:
            yield counted(amount, unit.strip(" s")) if unit else usd(amount)


def _of_them(rows: int) -> str:
    return "1 of them answers" if rows == 1 else f"{rows:,} of them answer"


def _ways(found: Status) -> str:
    """What becomes of answers to an older prompt; of those that are asked again, that is decided."""
    if found.rerun == found.changed:
        return "pending, to be asked again (--rerun-changed)"
    return "--rerun-changed, --keep-changed or --name NEW"


def _tell_places(console: Console, found: Status) -> None:
    from batchrun.cli.terminal import fact

    if found.results:
        fact(console, "results", shown_path(found.results), whole=True)
    if found.unpublished:
        rows = counted(found.unpublished, "answered row")
        label = "not in them" if found.results else "unpublished"
        fact(console, label, f"{rows}: to be published by the next submit, and in `show` now")


def _next(found: Status, arguments: JobArguments) -> list[tuple[str, str]]:
    from batchrun.cli.checks import rows_against

    steps = []
    if found.state == "paused":
        steps.append(("to go on", arguments.again("resume")))
    unfinished = found.pending or found.unpublished or found.rows is None
    by_folder = arguments.names_run
    if found.rerun and found.rerun == found.changed and not by_folder:
        steps.append(("to go on", arguments.again("submit", "--rerun-changed")))
    elif found.changed and not found.is_running:  # a plain submit would be refused
        plan = "plan the job: it says what each way asks for" if by_folder else arguments.again("plan")
        steps.append(("to decide", plan))
    elif unfinished and not found.is_running:
        stop = found.stopped_by or {}
        steps.append(("to go on", going_on(stop.get("kind"), stop.get("message", ""), arguments)))
    if found.failed:
        steps.append(("see failed", arguments.again("show", "--failed")))
    steps += rows_against(found.checks, arguments)
    return steps or [("see some", arguments.again("show", "--sample", "3"))]
