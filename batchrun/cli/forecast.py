"""What a submit will cost and take, for people: figures first, then what they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchrun.cli.terminal import fact
from batchrun.forecast.figures import estimated_usd, number, spread, stated, time
from batchrun.wording import counted, usd

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.forecast.by_batch import Batches
    from batchrun.planning import Plan

_PER = {"input": "in", "cached": "cached", "output": "out"}


def tell_forecast(console: Console, found: Plan) -> None:
    """Cost, tokens and time with their ranges; the budget; what that is told from."""
    said = found.forecast
    if said.cost_usd is not None:
        fact(console, "cost", spread(said.cost_usd, estimated_usd))
    if said.unpriced is not None and found.models[0].base_url is None:
        fact(console, "cost", "nothing: a simulator makes the answers up")
    elif said.unpriced is not None:
        fact(console, "cost", said.unpriced, style="yellow")
    fact(console, "tokens", f"prompts {spread(said.prompt_tokens, number)}")
    fact(console, "", f"answers {spread(said.completion_tokens, number)}")
    opens = "" if found.opens is None else ", once a model is open again"
    if said.batches is None:
        fact(console, "time", f"{spread(said.seconds, time)}, {_pace(found)}{opens}")
    else:
        _tell_batches(console, said.batches, opens)
    _tell_budget(console, found)
    fact(console, "based on" if said.sampled else "assumed", "; ".join(said.basis))
    if (known := said.per_million) is not None:
        kinds = [kind for kind in _PER if kind != "cached" or known["cached"] != known["input"]]
        prices = ", ".join(f"{usd(known[kind])} {_PER[kind]}" for kind in kinds)
        where = "the job's prices" if known["source"] == "job" else f"{known['model']} in {known['source']}"
        by = " in a batch" if said.batches and said.batches.knows_price else ""
        fact(console, "prices", f"{prices} per million tokens{by}, from {where}")
    for note in said.notes:
        fact(console, "note", note, style="yellow")
    if found.duplicates:
        fact(console, "duplicates", f"{found.duplicates:,} further rows have a request equal to one of these")


def _tell_batches(console: Console, batches: Batches, opens: str) -> None:
    """How the rows are divided, and within what time the provider answers."""
    each = " for each answer of a row" if batches.answers.high != 1 else ""
    window = f"within {time(batches.window)}{each} (engine.completion_window), often much sooner"
    if batches.finish_by is not None:
        window = f"within {time(batches.finish_by)} (finish_by): in realtime what batches leave"
    fact(console, "time", f"{window}{opens}")
    if batches.number:
        size = f"{batches.rows:,} rows" if batches.rows > 1 else "1 row"
        most = "of" if batches.number == 1 else "of up to"
        text = f"{counted(batches.number, 'batch')} {most} {size} and {_size(batches.bytes)}"
        fact(console, "batches", text if batches.number == 1 else f"{text} each")
    if batches.canary:
        rows = counted(batches.canary, "row")
        fact(console, "", f"{rows} first, in realtime and at the full price (canary)")


def _size(number_of_bytes: int) -> str:
    if number_of_bytes < 1_000_000:
        return f"{max(1, round(number_of_bytes / 1_000)):,} kB"
    return f"{number_of_bytes / 1_000_000:,.0f} MB"


def _pace(found: Plan) -> str:
    said, model = found.forecast, found.models[0]
    if said.held_by == "requests a minute":
        return f"at {model.rpm:,} requests a minute"
    if said.held_by == "tokens a minute":
        return f"at {model.tpm:,} tokens a minute"
    if said.reached:
        return "at the speed of the last submit"
    if not model.auto:
        return f"with {counted(model.concurrency or 1, 'call')} at once"
    return f"with {spread(said.at_once, number).removeprefix('about ')} calls at once"


def _tell_budget(console: Console, found: Plan) -> None:
    if allowed := [stated(key, amount) for key, amount in found.left.items()]:
        fact(console, "budget left", ", ".join(allowed))
    for sentence in found.over_budget:
        fact(console, "budget", sentence, style="yellow")
