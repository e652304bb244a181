"""The parameters of a Chat Completions request.

Names and ranges are those of OpenAI's API reference (`ChatCompletionCreateParams`), and of the
services that add to it: Lunos, and vLLM as Lightcone documents it. What is wrong only together
with another parameter is found by `parameters.check_combination`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, Tag

from batchrun.chat.request.members import (
    LIST_OR_TEXT,
    Bias,
    Flag,
    Free,
    FromOne,
    Int64,
    Members,
    Penalty,
    Share,
    Temperature,
    Templated,
    Text,
    UpTo20,
    UpTo128,
    plain,
)
from batchrun.chat.request.options import AudioOutput, Prediction, StreamOptions, WebSearchOptions
from batchrun.chat.request.response_format import ResponseFormat
from batchrun.chat.request.tools import FunctionCallChoice, Functions, ToolChoice, Tools
from batchrun.chat.request.vllm_parameters import VllmParameters
from batchrun.chat.stamps import LONGEST_KEY, LONGEST_VALUE, MOST_PAIRS


def _token_ids(biases: dict[str, Any]) -> dict[str, Any]:
    wrong = next((key for key in biases if not (key.isascii() and key.isdigit())), None)
    if wrong is not None:
        raise ValueError(f"needs token ids as keys, and {wrong!r} is no whole number")
    return biases


StopText: TypeAlias = Templated[Annotated[str, Field(min_length=1)]]
Stop: TypeAlias = Annotated[
    Annotated[StopText, Tag("<text>")] | Annotated[list[StopText], Tag("<list>")],
    LIST_OR_TEXT,
]
MetadataKey: TypeAlias = Annotated[str, Field(max_length=LONGEST_KEY)]
MetadataValue: TypeAlias = Templated[Annotated[str, Field(max_length=LONGEST_VALUE)]]
Metadata: TypeAlias = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MOST_PAIRS)]
Modalities: TypeAlias = Annotated[list[Templated[Literal["text", "audio"]]], Field(min_length=1)]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class OpenAIParameters(Members):
    """OpenAI's own, and Lunos's two."""

    audio: Templated[AudioOutput] | None = None
    """Format and voice of an audio answer; needs modalities with audio."""
    fallback_model: Text | None = None
    """Lunos: the model that answers when the one asked for cannot."""
    frequency_penalty: Penalty | None = None
    """-2 to 2: makes tokens less likely the more often they have appeared."""
    function_call: FunctionCallChoice | None = None
    """The older form of tool_choice: none, auto, or {name: …}."""
    functions: Functions | None = None
    """The older form of tools: functions that the model may call; the calls are returned, not run."""
    logit_bias: Templated[Annotated[dict[str, Bias], AfterValidator(_token_ids)]] | None = None
    """Token id to bias, -100 to 100."""
    logprobs: Flag | None = None
    """true: return the log probability of each token of the answer."""
    max_completion_tokens: FromOne | None = None
    """Most tokens an answer may have, reasoning included."""
    max_tokens: FromOne | None = None
    """The older name of max_completion_tokens, which many servers know only."""
    metadata: Templated[Metadata] | None = None
    """Up to 16 pairs of text, 64 characters to 512, that the provider keeps with a stored answer; beside
    store: true up to 12."""
    modalities: Templated[Modalities] | None = None
    """What an answer is made of: [text], or [text, audio], which needs `audio` too."""
    n: UpTo128 | None = None
    """1 to 128: how many answers to ask for; all are kept in `choices`."""
    observability: Flag | None = None
    """Lunos: true traces the request in the dashboard."""
    parallel_tool_calls: Flag | None = None
    """false: at most one tool call in an answer; needs tools."""
    prediction: Templated[Prediction] | None = None
    """Text that much of the answer is expected to repeat."""
    presence_penalty: Penalty | None = None
    """-2 to 2: makes tokens less likely once they have appeared."""
    prompt_cache_key: Text | None = None
    """Groups requests that share a beginning, for the provider's prompt cache."""
    prompt_cache_retention: Templated[Literal["in-memory", "in_memory", "24h"]] | None = None
    """in-memory or 24h: how long the provider's prompt cache keeps the beginning."""
    reasoning_effort: Templated[Effort] | None = None
    """none, minimal, low, medium, high, xhigh or max, as the model allows."""
    response_format: ResponseFormat | None = None
    """The form of the answer: text, json_object, json_schema, grammar, python, or vLLM's structural_tag."""
    safety_identifier: Text | None = None
    """A stable, hashed name of the end user, for the provider's abuse checks."""
    seed: Int64 | None = None
    """Asks for the same answer to the same request, as far as the provider can."""
    service_tier: Templated[Literal["auto", "default", "flex", "scale", "priority"]] | None = None
    """auto, default, flex, scale or priority: price against speed."""
    stop: Templated[Stop] | None = None
    """Text, or a list of texts (OpenAI: at most four), before which the answer ends."""
    store: Flag | None = None
    """true: the provider keeps the answer, and one that is lost on its way is found there again."""
    stream: Flag | None = None
    """true: the answer comes in pieces, so that `ttft` and timeouts see each of them; rows are the same."""
    stream_options: Templated[StreamOptions] | None = None
    """What a stream holds beside the answer; needs stream."""
    temperature: Temperature | None = None
    """0 to 2: 0 gives the likeliest answer, higher values vary more."""
    tool_choice: ToolChoice | None = None
    """none, auto, required, the one tool to call, or allowed_tools; needs tools."""
    tools: Tools | None = None
    """The tools a model may call, as the API spells them; the calls are returned, not run."""
    top_logprobs: UpTo20 | None = None
    """0 to 20: how many alternatives to return for each token; needs logprobs."""
    top_p: Share | None = None
    """0 to 1: samples from the likeliest tokens that together reach this probability."""
    user: Text | None = None
    """A name of the end user; the older form of safety_identifier."""
    verbosity: Templated[Literal["low", "medium", "high"]] | None = None
    """low, medium or high: how long answers are."""
    web_search_options: Templated[WebSearchOptions] | None = None
    """How a search model searches the web."""


class Parameters(VllmParameters, OpenAIParameters):
    """Parameters sent with every request; text may be a template over the row's columns."""

    extra_body: dict[str, Free] | None = None
    """Further members of the request body, for what an endpoint adds to the standard."""

    def spelled(self) -> dict[str, Any]:
        """The parameters that are given, null ones too, `extra_body` as a member of its own."""
        given = [name for name in type(self).model_fields if name in self.model_fields_set]
        return {name: plain(getattr(self, name)) for name in given}
