"""What rows will take as long as none has an answer: what their requests allow, and plain assumptions."""

from __future__ import annotations

from dataclasses import replace

from batchrun.forecast.estimate import (
    UNLIMITED_ANSWER,
    Range,
    answer_tokens,
    call_seconds,
    conversation_prompts,
    prompt_tokens,
)
from batchrun.forecast.figures import number
from batchrun.forecast.sampling import RequestSample, turn_tokens
from batchrun.forecast.taken import Taken, cached_share, cost_of
from batchrun.outcome import Usage
from batchrun.prices import Price
from batchrun.render.request import BYTES_PER_TOKEN, MEDIA_TOKENS
from batchrun.survey.survey import Survey

_RETURNED = 100.0
"""Tokens that the results of functions, or the word on what was wrong, are taken for."""


def assumed(survey: Survey, sample: RequestSample, price: Price | None) -> Taken:
    """What the rows of `sample` take by their requests."""
    rows = sample.rows
    answer = answer_tokens(sample.limit, choices=sample.choices)
    answers = answers_of(survey)
    added = _RETURNED if survey.job.run_tools else max(map(turn_tokens, sample.requests), default=0.0)
    prompt = conversation_prompts(prompt_tokens(sample.size / rows if rows else 0.0), answers, answer, added)
    output = answers.each(answer)
    cost = _cost(price, prompt, output, answers) if price else None
    if cost and price and survey.job.order == "prefix":
        usage = Usage(prompt_tokens=round(prompt.low), completion_tokens=round(output.low))
        cost = replace(cost, low=cost.low * cached_share(price, [usage]))
    return Taken(
        prompts=prompt.times(rows),
        outputs=output.times(rows),
        calls=answers.times(rows),
        seconds=answers.each(call_seconds(answer)),
        cost=cost.times(rows) if cost else None,
        basis=_basis(survey, sample, answers),
    )


def answers_of(survey: Survey) -> Range:
    """Answers of one row: turns, rounds of functions, and answers that are asked for again."""
    job = survey.job
    turns = 1 + len(survey.renderer.prompt.spelled_turns)
    rounds = job.run_tools.max_turns if job.run_tools else 0
    again = job.retry.reask if survey.renderer.answer_schema else 0
    return Range(turns, turns + min(1, rounds), turns * (1 + rounds) + again)


def _cost(price: Price, prompt: Range, output: Range, answers: Range) -> Range | None:
    """USD for a row; nothing for a price that does not say."""
    low = cost_of(price, prompt.low, output.low, answers.low)
    likely = cost_of(price, prompt.likely, output.likely, answers.likely)
    if low is None or likely is None:
        return None
    high = None
    if prompt.high is not None and output.high is not None and answers.high is not None:
        high = cost_of(price, prompt.high, output.high, answers.high)
    return Range(low, likely, high)


def _basis(survey: Survey, sample: RequestSample, answers: Range) -> tuple[str, ...]:
    media = f" and {MEDIA_TOKENS:,} for each image, clip or file" if survey.renderer.uses_media else ""
    said = [f"prompts of {BYTES_PER_TOKEN} bytes a token{media}"]
    if sample.limit is None:
        said.append(f"answers of {UNLIMITED_ANSWER:.0f} tokens, as requests set no limit to them")
    else:
        said.append(f"answers of half the {number(sample.limit)} tokens that a request allows")
    if answers.high != 1:
        most = f" to {answers.high:g}" if answers.high != answers.likely else ""
        said.append(f"{answers.likely:g}{most} answers a row")
    return (*said, "no row has an answer yet to tell from")
