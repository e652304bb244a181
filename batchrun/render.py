"""A row becomes a request: messages and parameters from templates, and the hash that names it.

The request hash (version 1) covers what the job spells: the messages as rendered, the parameters,
the model and its endpoint's name. It leaves out what can change at no cost: limits, retries,
timeouts, fallbacks, base URLs, output, and the parameters in `NOT_HASHED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from batchrun import codec
from batchrun.errors import JobError
from batchrun.job import Job, Message, ModelChoice, read_messages
from batchrun.outcome import Error
from batchrun.template import Context, Prepared, TemplateError, Templates, has_markup, inline_includes

HASH_VERSION = 1
NOT_HASHED = frozenset({"stream", "stream_options", "store", "metadata"})

BYTES_PER_TOKEN = 4
"""How many bytes of a prompt make a token, before any usage has been reported."""


class RenderError(ValueError):
    """A row that cannot become a request; `error` is the row's failure."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be asked for one row, before a model is chosen."""

    messages: list[dict[str, Any]]
    request_hash: str
    context: Context
    renderer: Renderer

    def body(self, model_index: int) -> bytes:
        """The request's body for one model of the chain. Raises RenderError."""
        try:
            return codec.dumps(self.document(model_index))
        except TypeError as error:
            raise _no_json(error) from error

    def document(self, model_index: int) -> dict[str, Any]:
        """The same as a mapping."""
        parameters = self.renderer.parameters(model_index, self.context)
        extra = parameters.pop("extra_body", {})
        name = self.renderer.models[model_index].name
        return {"model": name, "messages": self.messages, **parameters, **extra}


class Renderer:
    """The prompt and the parameters of one job, prepared.

    Raises JobError when a template cannot be read.
    """

    def __init__(self, job: Job) -> None:
        self.models: tuple[ModelChoice, ...] = job.models
        self.templates = Templates(job.folder)
        self._vars = dict(job.prompt.vars)
        messages = list(read_messages(job))
        self.spelled_messages = [message.model_dump(exclude_none=True) for _, message in messages]
        """The messages as the job spells them, message files read in."""
        self._messages = [self._prepared_message(message, place) for place, message in messages]
        self._parameters = [self._prepared_parameters(job, model) for model in job.models]

    def inlined_messages(self) -> list[dict[str, str]]:
        """The messages as the job spells them, with included files in place."""
        included = self.templates.included
        return [
            {**message, "content": inline_includes(message["content"], included)}
            for message in self.spelled_messages
        ]

    def render(self, values: Mapping[str, Any]) -> Request:
        """The request for a row with these values. A column hides a var of the same name.

        Raises RenderError.
        """
        context = {**self._vars, **values} if self._vars else values
        messages = [
            _evaluated(f"prompt.messages[{index}].content", message, context)
            for index, message in enumerate(self._messages)
        ]
        parameters = self.parameters(0, context)
        spelled = {
            "v": HASH_VERSION,
            "model": self.models[0].spelled,
            "messages": messages,
            "request": {name: value for name, value in parameters.items() if name not in NOT_HASHED},
        }
        try:
            request_hash = codec.digest(codec.canonical(spelled))
        except TypeError as error:
            raise _no_json(error) from error
        return Request(messages, request_hash, context, self)

    def parameters(self, model_index: int, context: Context) -> dict[str, Any]:
        """The parameters for one model of the chain; a null one is left out. Raises RenderError."""
        constant, dynamic = self._parameters[model_index]
        parameters = dict(constant)
        for name, prepared in dynamic.items():
            value = _evaluated(f"request.{name}", prepared, context)
            if value is not None and value == value:
                parameters[name] = value
        return parameters

    def _prepared_message(self, message: Message, place: str) -> Prepared:
        fixed = {"role": message.role} | ({"name": message.name} if message.name else {})
        with _at(f"{place}.content", message.content):
            content = self.templates.text(message.content)
        return lambda context: {**fixed, "content": content(context)}

    def _prepared_parameters(
        self, job: Job, model: ModelChoice
    ) -> tuple[dict[str, Any], dict[str, Prepared]]:
        constant = {name: value for name, value in model.request.items() if not has_markup(value)}
        dynamic = {}
        for name in model.request.keys() - constant.keys():
            with _at(job.where("request", name), model.request[name]):
                dynamic[name] = self.templates.value(model.request[name])
        return constant, dynamic


def _no_json(error: TypeError) -> RenderError:
    """The failure of a row with a value that JSON has no form for: a decimal, bytes."""
    return RenderError(Error("render", f"request: {error}; write it as text in the template"))


@contextmanager
def _at(place: str, source: Any) -> Iterator[None]:
    """Say where in the job a template stands that cannot be read."""
    try:
        yield
    except TemplateError as error:
        line = f" (line {error.line} of the template)" if error.line and "\n" in str(source) else ""
        raise JobError(f"{place}: {error}{line}") from error


def _evaluated(name: str, prepared: Prepared, context: Context) -> Any:
    try:
        return prepared(context)
    except TemplateError as error:
        line = f" (line {error.line})" if error.line and error.line > 1 else ""
        raise RenderError(Error("render", f"{name}: {error}{line}")) from error


def estimated_tokens(body: bytes) -> int:
    """Tokens of a request's prompt, before any usage has been reported."""
    return len(body) // BYTES_PER_TOKEN + 1
