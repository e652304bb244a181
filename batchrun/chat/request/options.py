"""Parameters that are mappings of their own: audio, prediction, search, streaming, structured outputs.

Names in the docstrings are the types' names in OpenAI's API reference, or in Lightcone's.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, Tag, model_validator

from batchrun.chat.request.content_parts import TextOnly
from batchrun.chat.request.members import MAPPING_OR_TEXT, Flag, Free, FreeMapping, Members, Templated, Text
from batchrun.chat.request.message_models import Content


class Voice(Members):
    """A voice of one's own (OpenAI: ChatCompletionAudioParam.voice)."""

    id: Text
    """The voice's id."""


class AudioOutput(Members):
    """How an audio answer is to sound (OpenAI: ChatCompletionAudioParam)."""

    format: Templated[Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]]
    """wav, aac, mp3, flac, opus or pcm16."""
    voice: Annotated[
        Annotated[Text, Tag("<text>")] | Annotated[Voice, Tag("<mapping>")],
        MAPPING_OR_TEXT,
    ]
    """alloy, ash, ballad, coral, echo, sage, shimmer, verse, marin, cedar, or another name."""


class Prediction(Members):
    """Text that much of the answer repeats (OpenAI: ChatCompletionPredictionContent)."""

    type: Literal["content"]
    """content"""
    content: Content[TextOnly]
    """The text, or a list of text parts."""


class Place(Members):
    """Where a user is, roughly (OpenAI: WebSearchOptions.user_location.approximate)."""

    city: Text | None = None
    """The city."""
    country: Text | None = None
    """The country, in two letters of ISO 3166."""
    region: Text | None = None
    """The region or state."""
    timezone: Text | None = None
    """The time zone's name, as Europe/Rome."""


class UserLocation(Members):
    """Where a search is made from (OpenAI: WebSearchOptions.user_location)."""

    type: Literal["approximate"]
    """approximate"""
    approximate: Templated[Place]
    """The place."""


class WebSearchOptions(Members):
    """How the web is searched (OpenAI: WebSearchOptions)."""

    search_context_size: Templated[Literal["low", "medium", "high"]] | None = None
    """low, medium or high: how much of what is found the model reads."""
    user_location: Templated[UserLocation] | None = None
    """Where the search is made from."""


class StreamOptions(Members):
    """What a stream holds beside the answer (OpenAI: ChatCompletionStreamOptions)."""

    include_usage: Flag | None = None
    """true: the last chunk holds the usage."""
    include_obfuscation: Flag | None = None
    """false: chunks are not padded to equal lengths."""
    continuous_usage_stats: Flag | None = None
    """vLLM: true puts the usage into every chunk."""


class LogitsProcessor(Members):
    """A processor that is constructed for the request (Lightcone: LogitsProcessorConstructor)."""

    qualname: Text
    """The qualified name of its class or factory."""
    args: Templated[list[Free]] | None = None
    """Positional arguments."""
    kwargs: FreeMapping | None = None
    """Keyword arguments."""


_AnyProcessor: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[LogitsProcessor, Tag("<mapping>")],
    MAPPING_OR_TEXT,
]
LogitsProcessors: TypeAlias = Templated[list[_AnyProcessor]]

_CONSTRAINTS = frozenset({"choice", "grammar", "json_", "json_object", "regex", "structural_tag"})


class StructuredOutputs(Members):
    """What an answer is constrained to, by one of several means (Lightcone: StructuredOutputs)."""

    choice: Templated[list[Text]] | None = None
    """The answers to choose from."""
    grammar: Text | None = None
    """A context-free grammar."""
    json_: Free = Field(default=None, alias="json")
    """A JSON Schema, as a mapping or as text."""
    json_object: Flag | None = None
    """true: any JSON object."""
    regex: Text | None = None
    """A regular expression."""
    structural_tag: Text | None = None
    """A structural tag, as JSON text."""
    disable_additional_properties: Flag | None = None
    """true: objects hold only the properties that the schema names."""
    disable_any_whitespace: Flag | None = None
    """true: no white space between the parts of JSON."""
    disable_fallback: Flag | None = None
    """true: no other grammar engine is tried."""
    whitespace_pattern: Text | None = None
    """A regular expression of the white space between the parts of JSON."""
    backend: Text | None = Field(default=None, alias="_backend")
    """The grammar engine."""
    backend_was_auto: Flag | None = Field(default=None, alias="_backend_was_auto")
    """true: the server chose the engine."""

    @model_validator(mode="after")
    def _one_constraint(self) -> Self:
        given = [name for name in _CONSTRAINTS if getattr(self, name) is not None]
        if len(given) != 1:
            names = "choice, grammar, json, json_object, regex, structural_tag"
            raise ValueError(f"needs exactly one of {names}: vLLM refuses any other number")
        return self
