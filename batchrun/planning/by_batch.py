"""What is to be known of a job whose rows go by a provider's batches, before it is paid for."""

from __future__ import annotations

from collections.abc import Iterator

from batchrun.forecast.by_batch import goes_by_batch
from batchrun.survey.survey import Survey


def batch_doubts(found: Survey) -> Iterator[str]:
    """A sentence each for what is likely not meant, with what to do about it."""
    job = found.job
    if not goes_by_batch(job):
        return
    if any(model.request.get("stream") for model in found.renderer.models):
        yield "request.stream has no effect in a batch: `ttft` will be null. Leave it out."
    several = [
        *(["prompt.turns"] if found.renderer.prompt.spelled_turns else []),
        *(["run_tools"] if job.run_tools else []),
    ]
    again = job.retry.reask and found.renderer.answer_schema is not None
    if several and job.engine.leftovers == "batch":
        yield (
            f"{' and '.join(several)}: each answer of a row takes a batch of its own, one after another. "
            "With engine.leftovers: realtime all but the first go at once, at the full price."
        )
    elif again and job.engine.leftovers == "batch":
        yield (
            "retry.reask: an answer that does not fit the schema is asked for again in a further batch. With "
            "engine.leftovers: realtime that is done at once, at the full price."
        )
    for model in job.models:
        if len(job.endpoints[model.endpoint].base_urls) > 1:
            yield (
                f"endpoints.{model.endpoint}.base_url names several servers, and a batch is one's: a submit "
                "is refused. Give one, or set engine.kind: local."
            )
