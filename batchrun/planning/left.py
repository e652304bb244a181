"""What a forecast is held against: what the budget still allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from batchrun.budget import Amounts, Budget, Caps
from batchrun.budget.opening import caps_of
from batchrun.forecast import Forecast
from batchrun.forecast.estimate import Range
from batchrun.forecast.figures import estimated_usd, named, number, rounded_up, stated, time
from batchrun.job import Job
from batchrun.prices import ModelPrices
from batchrun.spending.caps import uncounted
from batchrun.survey.survey import Survey
from batchrun.wording import usd

_PER = {"run": "", "submit": " a submit", "day": " a day"}


def spent_so_far(survey: Survey, now: float) -> Amounts:
    """What counts against the job's budget already; calls without an answer at their bounds."""
    per = survey.job.budget.per
    if per == "submit":
        return Amounts()
    spend = survey.checkpoint.spend(ModelPrices(survey.job, now).of_name)
    return spend.total() if per == "run" else spend.day(now)


def left(job: Job, spent: Amounts) -> dict[str, float]:
    """What the budget allows now, by its keys, when `spent` of it is gone or held; wall_time in seconds."""
    budget = job.budget
    known = {
        "cost_usd": (budget.cost_usd, spent.cost_usd or 0.0),
        "tokens": (budget.tokens, spent.tokens or 0),
        "requests": (budget.requests, spent.requests),
        "wall_time": (budget.wall_time, 0.0),
    }
    return {key: max(0.0, cap - gone) for key, (cap, gone) in known.items() if cap is not None}


def over_budget(
    job: Job, found: Forecast, spent: Amounts, next_call: Amounts | None, *, now: float
) -> Iterator[str]:
    """A sentence for each part of the budget that the high estimate exceeds, as one without an end does.

    Also where no price is known, so that nothing is; and where what is left does not hold `next_call`, the
    most that the first call can take (None: not known).
    """
    if not found.rows:
        return
    kinds: dict[str, tuple[Range | None, Callable[[float], str]]] = {
        "cost_usd": (found.cost_usd, estimated_usd),
        "tokens": (found.tokens, number),
        "requests": (found.requests, number),
        "wall_time": (found.seconds, time),
    }
    for key, allowed in left(job, spent).items():
        amount, spelled = kinds[key]
        if amount is None:
            yield from (f"{sentence}." for sentence in uncounted(job, ModelPrices(job, now)))
            continue
        is_left = _left(job, key, allowed)
        goes = next_call is None or key == "wall_time" or _fits(job, key, spent, next_call)
        if amount.high is None or amount.high > allowed:
            is_left = f"{_needed(key, amount, allowed, spelled)}, and {is_left}"
        elif goes:
            continue
        if goes:
            stop = f"A submit stops there and can be continued; {_way_on(key, amount, allowed)}"
        else:
            later = _fits(job, key, Amounts(), next_call) if next_call and job.budget.per == "day" else False
            stop = f"{_too_much(key, next_call)}; raise budget.{key}{' or wait for tomorrow (UTC)' * later}"
        yield f"budget.{key}: {is_left}. {stop}."


def holds(job: Job, spent: Amounts, next_call: Amounts | None) -> bool:
    """Whether what is left of every cap holds `next_call`; so it does where its most is not known (None)."""
    caps = [key for key in left(job, spent) if key != "wall_time"]
    return next_call is None or all(_fits(job, key, spent, next_call) for key in caps)


def _fits(job: Job, key: str, spent: Amounts, next_call: Amounts) -> bool:
    """Whether what is left of one cap holds the call, as admission reckons.

    True where a submit is refused before, as the call has no upper bound.
    """
    caps = caps_of(job)
    alone = replace(Caps(per=caps.per, soft=caps.soft), **{key: getattr(caps, key)})
    budget = Budget(alone, spent)
    return budget.unbounded(next_call) is not None or budget.fits(next_call)


def _too_much(key: str, next_call: Amounts | None) -> str:
    most = getattr(next_call, key)
    if most is None or key == "requests":
        return "Nothing would be sent"
    figure = usd(most) if key == "cost_usd" else f"{most:,.0f}"
    verb = "cost" if key == "cost_usd" else "take"
    return f"The next call may {verb} up to {named(key, figure)}: nothing would be sent"


def _needed(key: str, amount: Range, allowed: float, spelled: Callable[[float], str]) -> str:
    if amount.low > allowed:
        least = spelled(amount.low)
        return f"at least {named(key, least)} {_verb(key, least)} needed"
    if amount.high is None:
        return f"nothing bounds what may be needed (likely {named(key, spelled(amount.likely))})"
    return f"up to {named(key, spelled(rounded_up(amount.high)))} may be needed"


def _left(job: Job, key: str, allowed: float) -> str:
    cap: float = getattr(job.budget, key)
    counts = key not in ("cost_usd", "wall_time")
    figure = f"{allowed:,.0f}" if counts else stated(key, allowed)
    of = f"{figure} of {stated(key, cap)}" if allowed < cap else stated(key, cap)
    per = " a submit" if key == "wall_time" else _PER[job.budget.per]
    return f"{of}{per} {_verb(key, figure)} left"


def _verb(key: str, figure: str) -> str:
    return "is" if key in ("cost_usd", "wall_time") or figure == "1" else "are"


def _way_on(key: str, amount: Range, allowed: float) -> str:
    if amount.high is None and amount.low <= allowed:
        return "set request.max_completion_tokens"
    return f"raise budget.{key} or ask for fewer rows"
