"""The parameters of a Chat Completions request that a job may set.

Names and meanings are those of OpenAI's API reference, and of vLLM's for what it adds. A
parameter is listed once its effect on the answer is read; everything else goes in `extra_body`.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from batchrun.job.fields import Free, Section
from batchrun.job.place import Loc, WrongPartsError

OTHERWISE_GIVEN: dict[str, str] = {
    "model": "the job's own key `model` names the model",
    "messages": "the job's own key `prompt.messages` holds the messages",
    "stream": "answers are not streamed: a run reads whole answers only",
    "stream_options": "answers are not streamed: a run reads whole answers only",
}
"""Names of the API that have another place in a job, or none."""


class Request(Section):
    """Parameters sent with every request; text may be a template over the row's columns."""

    frequency_penalty: Free = None
    """-2 to 2: makes tokens less likely the more often they have appeared."""
    logit_bias: Free = None
    """Token id to bias, -100 to 100."""
    logprobs: Free = None
    """true: return the log probability of each token of the answer."""
    max_completion_tokens: Free = None
    """Most tokens an answer may have, reasoning included."""
    max_tokens: Free = None
    """The older name of max_completion_tokens, which many servers know only."""
    metadata: Free = None
    """Up to 16 pairs of text that the provider keeps with a stored answer."""
    n: Free = None
    """How many answers to ask for; all are kept in `choices`."""
    parallel_tool_calls: Free = None
    """false: at most one tool call in an answer."""
    presence_penalty: Free = None
    """-2 to 2: makes tokens less likely once they have appeared."""
    prediction: Free = None
    """Text that much of the answer is expected to repeat."""
    prompt_cache_key: Free = None
    """Groups requests that share a beginning, for the provider's prompt cache."""
    reasoning_effort: Free = None
    """none, minimal, low, medium, high or xhigh, as the model allows."""
    response_format: Free = None
    """The form of the answer: text, json_object or json_schema."""
    safety_identifier: Free = None
    """A stable, hashed name of the end user, for the provider's abuse checks."""
    seed: Free = None
    """Asks for the same answer to the same request, as far as the provider can."""
    service_tier: Free = None
    """auto, default, flex or priority: price against speed."""
    stop: Free = None
    """Text, or a list of up to four, before which the answer ends."""
    store: Free = None
    """true: the provider keeps the answer."""
    temperature: Free = None
    """0 to 2: 0 gives the likeliest answer, higher values vary more."""
    tool_choice: Free = None
    """none, auto, required, or the one tool to call."""
    tools: Free = None
    """The tools a model may call, as the API spells them; the calls are returned, not run."""
    top_logprobs: Free = None
    """0 to 20: how many alternatives to return for each token; needs logprobs."""
    top_p: Free = None
    """0 to 1: samples from the likeliest tokens that together reach this probability."""
    user: Free = None
    """A name of the end user; the older form of safety_identifier."""
    verbosity: Free = None
    """low, medium or high."""
    min_p: Free = None
    """vLLM: drops tokens below this share of the likeliest one's probability."""
    top_k: Free = None
    """vLLM: samples from this many of the likeliest tokens."""
    repetition_penalty: Free = None
    """vLLM: above 1 makes tokens that have appeared less likely."""
    min_tokens: Free = None
    """vLLM: fewest tokens of an answer before it may end."""
    ignore_eos: Free = None
    """vLLM: true goes on past the end-of-sequence token."""
    stop_token_ids: Free = None
    """vLLM: token ids before which the answer ends."""
    extra_body: dict[str, Free] | None = Field(default=None)
    """Further members of the request body, for what an endpoint adds to the standard."""

    @model_validator(mode="after")
    def _told_once(self) -> Self:
        wrong: list[tuple[Loc, str]] = []
        for name in self.extra_body or {}:
            if name in OTHERWISE_GIVEN:
                wrong.append((("extra_body", name), f"must not be given: {OTHERWISE_GIVEN[name]}"))
            elif name in self.model_fields_set:
                wrong.append((("extra_body", name), f"is given as request.{name} too: keep one"))
        WrongPartsError.raise_any(wrong)
        return self

    def spelled(self) -> dict[str, Any]:
        """The parameters that the job gives, null ones too, `extra_body` as a member of its own."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


def merged(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Lay a model's own parameters over the job's; a null on either side means: do not send.

    `extra_body` is one parameter here: an override replaces it as a whole.
    """
    return {name: value for name, value in {**base, **overrides}.items() if value is not None}
