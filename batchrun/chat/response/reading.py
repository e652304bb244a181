"""What a job makes of an answer: whether it takes it, what it parses, how sure the model was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchrun import codec
from batchrun.chat.response.completion import Choice, Completion
from batchrun.chat.response.probabilities import (
    ONE_TOKEN,
    Probabilities,
    content_tokens,
    label_probabilities,
    one_token,
)
from batchrun.chat.schema.structured import AnswerSchema, ArgumentsReader, Invalid
from batchrun.outcome import Error


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Why an answer will not do. `advice` is what to tell the model: a text, or one for each tool call;
    empty where telling it cannot help."""

    error: Error
    advice: tuple[str, ...] = ()
    fails: bool = True
    """Whether the row fails with it when no better answer can be had."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads answers as the job wants them.

    `tools` gives the readers of arguments by the function's name; `offered` names all tools.
    """

    fail_on: frozenset[str]
    schema: AnswerSchema | None = None
    tools: Mapping[str, ArgumentsReader] = field(default_factory=dict)
    offered: frozenset[str] = frozenset()
    choice_labels: tuple[str, ...] = ()
    """The texts that the request allows (vLLM's `structured_outputs.choice`)."""
    audio_format: str | None = None

    def read(self, completion: Completion, *, last: bool) -> tuple[dict[str, Any], Unwanted | None]:
        """What is read in an answer, as members of `Done.reading`, and why it will not do, if so.

        The members: `parsed` (of the first choice), `choices_parsed`, `repaired`, `tool_arguments`
        (JSON text or None for each call), `confidence`, `probabilities`, `audio_format`. The schema
        holds for the `last` answer of a row alone.
        """
        choice = completion.choices[0]
        found: dict[str, Any] = {}
        if choice.audio is not None and self.audio_format:
            found["audio_format"] = self.audio_format
        found |= self._sureness(choice, last=last)
        if error := self.refused(choice):
            return found, Unwanted(error)
        if choice.tool_calls:
            return found, self._read_arguments(choice, found)
        if self.schema is not None and last and not choice.refusal:
            return found, self._read_text(completion, self.schema, found)
        return found, None

    def refused(self, choice: Choice) -> Error | None:
        """Why an answer makes its row failed whatever is in it: `fail_on`, cut before its first word or
        within a call, or nothing but reasoning."""
        if choice.refusal and "refusal" in self.fail_on:
            return Error("refusal", choice.refusal[:500], http_status=200)
        if choice.finish_reason == "content_filter" and "content_filter" in self.fail_on:
            return Error("content_filter", "the provider's filter stopped the answer", http_status=200)
        cut = choice.finish_reason == "length"
        if cut and ("truncated" in self.fail_on or choice.is_empty or choice.tool_calls):
            return Error("truncated", "the answer reached its token limit", http_status=200)
        beside = choice.content is None or choice.reasoning or choice.unread
        if choice.is_empty and beside and choice.finish_reason != "content_filter":
            found = "only parts that batchrun does not read" if choice.unread else "reasoning alone"
            return Error("invalid_output", f"the answer holds {found}, and no text", http_status=200)
        return None

    def _read_text(
        self, completion: Completion, schema: AnswerSchema, found: dict[str, Any]
    ) -> Unwanted | None:
        """Parse every choice; the first one decides."""
        reads = [schema.read(choice.content or "") for choice in completion.choices]
        first = reads[0]
        if len(reads) > 1:
            found["choices_parsed"] = [None if isinstance(r, Invalid) else r.value for r in reads]
        if isinstance(first, Invalid):
            return self._invalid(completion.choices[0], first)
        found["parsed"] = first.value
        if first.repaired:
            found["repaired"] = True
        return None

    def _read_arguments(self, choice: Choice, found: dict[str, Any]) -> Unwanted | None:
        """Parse the arguments of every call of a function that the job describes."""
        reads = [
            reader.read(call.arguments or "") if (reader := self.tools.get(call.name or "")) else None
            for call in choice.tool_calls
        ]
        if not any(reads):
            return None
        found["tool_arguments"] = [
            None if read is None or isinstance(read, Invalid) else codec.dumps(read.value).decode()
            for read in reads
        ]
        if any(read.repaired for read in reads if read is not None and not isinstance(read, Invalid)):
            found["repaired"] = True
        wrong = [isinstance(read, Invalid) for read in reads]
        if not any(wrong):
            return None
        advice = tuple(
            f"Error: the arguments are not valid: {read.message}. Call the tool again with valid arguments."
            if isinstance(read, Invalid)
            else "Not run: another call of the same answer has invalid arguments. Make all calls again."
            for read in reads
        )
        first = reads[wrong.index(True)]
        assert isinstance(first, Invalid), "the first one that is wrong"
        name = choice.tool_calls[wrong.index(True)].name
        return self._unwanted(choice, f"arguments of {name}: {first.message}", advice)

    def _invalid(self, choice: Choice, read: Invalid) -> Unwanted:
        if choice.finish_reason == "length":
            advice = f"Your answer was cut off at its token limit. {_AGAIN} Be brief: it must end in time."
        else:
            advice = f"Your answer does not fit the required schema: {read.message}. {_AGAIN}"
        return self._unwanted(choice, read.message, (advice,))

    def _unwanted(self, choice: Choice, message: str, advice: tuple[str, ...]) -> Unwanted:
        """`invalid_output`, or `truncated` where the text was cut."""
        if choice.finish_reason == "length":
            cut = f"the answer reached its token limit: {message}"
            return Unwanted(Error("truncated", cut, http_status=200), advice)
        error = Error("invalid_output", message, http_status=200)
        return Unwanted(error, advice, fails="invalid_output" in self.fail_on)

    def _sureness(self, choice: Choice, *, last: bool) -> dict[str, Any]:
        """`confidence` and `probabilities`, where the answer's logprobs can tell them."""
        if not last or not choice.logprobs or choice.tool_calls or choice.content is None:
            return {}
        if not self._may_be_sure(choice.logprobs, choice.content):
            return {}
        tokens = content_tokens(choice.logprobs, choice.content)
        found = self._probabilities(tokens) if tokens else None
        if found is None:
            return {}
        return {"confidence": found.confidence, "probabilities": dict(found.by_label)}

    def _may_be_sure(self, tokens: Sequence[Mapping[str, Any]], content: str) -> bool:
        """Whether the answer can be a label, or one token: to read hundreds of tokens takes time."""
        if self.schema is not None:
            return self.schema.labels is not None
        return bool(self.choice_labels) or content_tokens(tokens[-ONE_TOKEN:], content) is not None

    def _probabilities(self, tokens: Sequence[Mapping[str, Any]]) -> Probabilities | None:
        if self.schema is not None:
            labels = self.schema.labels
            return label_probabilities(labels.values, tokens, path=labels.path) if labels else None
        if self.choice_labels:
            return label_probabilities(self.choice_labels, tokens)
        return one_token(tokens)


_AGAIN = "Answer again with the corrected JSON alone, without any other text."
