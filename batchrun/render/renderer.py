"""A row becomes a request: messages and parameters from templates, and the hash that names it.

The request hash (version 1) covers what the job spells: the messages as rendered, media by their
identity, turns, tools, the parameters, the schema, the model and its endpoint's name. It leaves
out what can change at no cost: limits, retries, timeouts, fallbacks, base URLs, output, and the
parameters in `NOT_HASHED`; and what is made for an endpoint: translation, strict schemas, stamps.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from batchrun import codec
from batchrun.chat.dialogue import Rules as DialogueRules
from batchrun.chat.request.wire import translated
from batchrun.chat.response.reading import Reader
from batchrun.chat.schema.structured import AnswerSchema
from batchrun.errors import JobError
from batchrun.job import ANY_MODEL, Job, ModelChoice, job_snapshot
from batchrun.job.answer_schema import load_answer_schema
from batchrun.media import Media, MediaError, collecting, replace
from batchrun.outcome import Error
from batchrun.render.evaluate import RenderError, no_json, unfit
from batchrun.render.parameters import Parameters
from batchrun.render.prompt import BODY, Prompt
from batchrun.render.readers import READ_FROM, reader
from batchrun.render.request import RowRequest
from batchrun.template.template import Context, Templates

if TYPE_CHECKING:
    from batchrun.functions import Functions

HASH_VERSION = 1
NOT_HASHED = frozenset({"stream", "stream_options", "store", "metadata"})

_ORDERED = frozenset({"tools", "functions", "response_format", "structured_outputs"})
"""Parameters in which the order of members counts: a model writes an object's in its schema's order."""


class Renderer:
    """The prompt and the parameters of one job, prepared.

    Raises JobError when a template, the schema or the functions cannot be read.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.models: tuple[ModelChoice, ...] = job.models
        media = _media(job)
        self.templates = Templates(job.folder, data_url=media.data_url, base64=media.base64)
        self.prompt = Prompt(job, self.templates)
        self.functions = _functions(job)
        self.answer_schema = _answer_schema(job)
        self._vars = dict(job.prompt.vars)
        self._parameters = [Parameters(job, model, self.templates) for model in job.models]

    def snapshot(self) -> str:
        """The job as one file that holds all it is made of."""
        return job_snapshot(
            self._job,
            self.prompt.inlined(self.prompt.spelled),
            turns=self.prompt.inlined(self.prompt.spelled_turns),
            schema=self.answer_schema.schema if self.answer_schema else None,
        )

    def render(self, values: Mapping[str, Any]) -> RowRequest:
        """The request for a row with these values. A column hides a var of the same name.

        Raises RenderError.
        """
        context = {**self._vars, **values} if self._vars else values
        try:
            with collecting() as media:
                messages = self.prompt.messages(context)
                parameters = self.parameters(0, context)
                spelled = self._spelled(messages, parameters, context)
            identity = replace(spelled, media, attrgetter("identity")) if media else spelled
            request_hash = codec.digest_of(identity)
        except MediaError as error:
            raise RenderError(Error("media", str(error))) from error
        except TypeError as error:
            raise no_json(error) from error
        return RowRequest(messages, request_hash, context, self, media, {0: parameters})

    def _spelled(
        self, messages: list[dict[str, Any]], parameters: Mapping[str, Any], context: Context
    ) -> dict[str, Any]:
        """What the request hash covers; a member that a job does not have is left out."""
        spelled = {**self._spelled_once, "messages": messages}
        if self._varies:
            spelled["request"] = _hashed(parameters)
        if self.models[0].name == ANY_MODEL:
            spelled["named"] = self.named_model(context)
        if self.prompt.has_turns:
            spelled["turns"] = self.prompt.turns_identity(context)
        return spelled

    @cached_property
    def _spelled_once(self) -> dict[str, Any]:
        """The part of it that is the same for every row."""
        spelled: dict[str, Any] = {"v": HASH_VERSION, "model": self.models[0].qualified_name}
        if not self._varies:
            spelled["request"] = _hashed(self._parameters[0].constant)
        if self.answer_schema is not None:
            spelled["schema"] = codec.dumps(self.answer_schema.schema).decode()
            if "response_format" in self.models[0].removed:
                spelled["schema_sent"] = False
        if self.functions is not None:
            spelled["run_tools"] = codec.dumps(self.functions.tools).decode()
        return spelled

    @property
    def _varies(self) -> bool:
        """Whether rows have parameters of their own."""
        return self.prompt.from_body or self._parameters[0].vary

    def parameters(self, model_index: int, context: Context) -> Mapping[str, Any]:
        """The parameters for one model of the chain; a null one is left out. Raises RenderError."""
        return self._parameters[model_index].of(context, self._body(context))

    def _body(self, context: Context) -> Mapping[str, Any] | None:
        return context[BODY] if self.prompt.from_body else None

    def named_model(self, context: Context) -> str:
        """The model that the row's own body names. Raises RenderError."""
        name = context[BODY].get("model")
        if not isinstance(name, str) or not name:
            raise unfit(
                f"{BODY}.model: must name the model, because the job's is {self.models[0].qualified_name}"
            )
        return name

    def document(
        self, request: RowRequest, model_index: int, messages: Sequence[Mapping[str, Any]], *, last: bool
    ) -> dict[str, Any]:
        """The request's body for one model, media as markers."""
        model = self.models[model_index]
        parameters = dict(request.parameters(model_index))
        extra = parameters.pop("extra_body", {})
        name = self.named_model(request.context) if model.name == ANY_MODEL else model.name
        document = {"model": name, "messages": list(messages), **parameters, **extra}
        endpoint = self._job.endpoints[model.endpoint]
        if self.answer_schema is not None and last and "response_format" not in model.removed:
            document["response_format"] = self.answer_schema.response_format(strict=not endpoint.any_schema)
        if self.functions is not None:
            document["tools"] = [*document.get("tools", ()), *self.functions.tools]
        if document.get("stream"):
            document.setdefault("stream_options", {"include_usage": True})
        return translated(document, token_limit=endpoint.token_limit, instructions=endpoint.instructions)

    @cached_property
    def dialogue_rules(self) -> DialogueRules:
        """What the job says of conversations."""
        tools = self._job.run_tools
        return DialogueRules(
            reask=self._job.retry.reask,
            functions=frozenset(tools.functions) if tools else frozenset(),
            max_turns=tools.max_turns if tools else 0,
            keep_messages=self.keeps_transcript,
        )

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels that answers choose from, where the job says which there are."""
        if self.answer_schema is not None:
            return self.answer_schema.labels.values if self.answer_schema.labels else None
        return None if self._varies else self.common_reader.choice_labels or None

    @cached_property
    def fixed_bytes(self) -> int:
        """Bytes of tools and schema that go along with every prompt."""
        tools = self.functions.tools if self.functions else ()
        schema = self.answer_schema.schema if self.answer_schema else ()
        own = [self.models[0].parameters.get(name) or () for name in sorted(_ORDERED)]
        return len(codec.dumps([tools, schema, own])) if tools or schema or any(own) else 0

    @cached_property
    def uses_media(self) -> bool:
        """Whether the job's templates read files or bytes."""
        job = self._job
        parameters = [dict(model.parameters) for model in job.models]
        included = list(self.templates.included.values())
        spelled = str([self.prompt.spelled, self.prompt.spelled_turns, parameters, included])
        return any(name in spelled for name in ("data_url", "base64"))

    @property
    def asks_again(self) -> bool:
        """Whether one row may take several answers: turns, functions, or answers that are asked for again."""
        tools = {"tools", "functions"} & self.models[0].parameters.keys()
        return bool(self.keeps_transcript or self.answer_schema or tools or self.prompt.from_body)

    @property
    def may_store(self) -> bool:
        """Whether a provider may be asked to keep answers: by the job, or by what a row has."""
        stored = (model.parameters.get("store") for model in self.models)
        return self.prompt.from_body or any(value not in (None, False) for value in stored)

    @property
    def keeps_transcript(self) -> bool:
        """Whether rows are conversations of several answers."""
        return self.prompt.has_turns or self.functions is not None

    def reader(self, parameters: Mapping[str, Any]) -> Reader:
        """What reads the answers to a request with these parameters."""
        constant = self._parameters[0].constant
        if self._varies and any(parameters.get(name) is not constant.get(name) for name in READ_FROM):
            return reader(self._job.fail_on, self.answer_schema, parameters)
        return self.common_reader

    @cached_property
    def common_reader(self) -> Reader:
        """What reads answers whose rows are not known: by the schema, and what all rows share."""
        return reader(self._job.fail_on, self.answer_schema, self._parameters[0].constant)


def _hashed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the request hash covers of parameters."""
    return {
        name: codec.dumps(value).decode() if name in _ORDERED else value
        for name, value in parameters.items()
        if name not in NOT_HASHED
    }


def _media(job: Job) -> Media:
    if job.media_root is not None and not job.media_root.is_dir():
        where = job.where("input", "media_root")
        raise JobError(f"{where}: {job.media_root} is no folder", hint="Name the folder that media lie in.")
    return Media(job.media_root)


def _functions(job: Job) -> Functions | None:
    tools = job.run_tools
    if tools is None:
        return None
    from batchrun.functions import load_functions  # takes a tenth of a second

    with redirect_stdout(sys.stderr):  # what the module prints must not stand among the data
        return load_functions(job.folder / tools.module, tools.functions, where=job.where("run_tools"))


def _answer_schema(job: Job) -> AnswerSchema | None:
    if job.answer_schema is None:
        return None
    where = job.where("schema")
    return AnswerSchema(load_answer_schema(job.answer_schema, folder=job.folder, where=where))
