"""What is likely not meant in a job, and is better known before it is paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchrun.chat.request.families import no_logprobs, thinks, unsupported
from batchrun.chat.schema.json_schema import plain
from batchrun.chat.schema.strict import strict_fault
from batchrun.job import Job, ModelChoice
from batchrun.planning.examples import Example
from batchrun.planning.unused import unused
from batchrun.render.renderer import Renderer
from batchrun.run_folder.columns.parsed import arrow_type
from batchrun.survey.survey import Survey
from batchrun.template.source import has_markup

_LEAST_TO_THINK = 1_000
"""Tokens below which an answer of a model that reasons is often cut off before it begins; OpenAI's
reasoning guide advises to leave 25,000."""


def doubts(survey: Survey, shown: Sequence[Example], *, answered: bool) -> Iterator[str]:
    """A sentence each, with what to do about it.

    `shown` are some of the rows as they would be asked; `answered`: rows have answers already, which tell
    more than what is known of a model's family.
    """
    renderer = survey.renderer
    for model in renderer.models:
        yield from unsupported(model.name, model.parameters)
    if not answered:
        yield from _cut_off(renderer, shown)
    yield from dict.fromkeys(filter(None, map(_alike, renderer.models)))
    yield from _not_strict(survey.job, renderer)
    if renderer.answer_schema is not None:
        _, fallback = arrow_type(renderer.answer_schema.schema)
        if fallback:
            yield fallback
    yield from _unsure(renderer)
    yield from unused(survey)
    yield from _in_batches(survey)


def _cut_off(renderer: Renderer, shown: Sequence[Example]) -> Iterator[str]:
    """Models that reason, whose answers have no room for that."""
    first, *others = renderer.models
    asked = [(first, dict(example.request)) for example in shown]
    asked += [(model, _flat(model.parameters)) for model in others]
    said: set[str] = set()
    for model, parameters in asked:
        name = str(parameters.get("model", model.name))
        limit = _limit(name, parameters)
        if limit and limit[1] < _LEAST_TO_THINK and name not in said and thinks(name, parameters):
            said.add(name)
            yield (
                f"{name} reasons before it answers, and {limit[0]} {limit[1]:,} holds both: answers will be "
                "cut off or empty. Allow several thousand tokens: only those that are used are paid for."
            )


def _flat(request: Mapping[str, Any]) -> dict[str, Any]:
    return {**request, **(request.get("extra_body") or {})}


def _limit(model: str, parameters: Mapping[str, Any]) -> tuple[str, int] | None:
    """The parameter that limits the tokens of an answer, one that the model takes, with its value."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = parameters.get(name)
        if isinstance(value, int) and not unsupported(model, {name: value}):
            return name, value
    return None


def _alike(model: ModelChoice) -> str | None:
    """Several answers to one request that are the same."""
    number, temperature = model.parameters.get("n"), model.parameters.get("temperature")
    if not (isinstance(number, int) and number > 1 and temperature == 0):
        return None
    return (
        f"n {number} at temperature 0 pays for {number} answers that are nearly the same: raise "
        "request.temperature, or remove request.n."
    )


def _not_strict(job: Job, renderer: Renderer) -> Iterator[str]:
    """Schemas that are not held to while the model writes, or are refused."""
    schema = renderer.answer_schema
    asking = [model for model in renderer.models if "response_format" not in model.removed]
    strictly = [model for model in asking if not job.endpoints[model.endpoint].any_schema]
    if schema is not None and schema.strict is None and strictly:
        then = "are asked for again" if job.retry.reask else "fail"
        yield (
            f"schema: strict mode does not take it ({schema.obstacle}), so the model is not held to it while "
            f"it writes, and answers that do not fit {then}. Change that place for a strict one."
        )
    for model in strictly:
        for place, described, inner in _own_schemas(model.parameters):
            if fault := strict_fault(plain(inner)):
                yield (
                    f"{model.qualified_name}: {place} is strict, and its schema is refused so ({fault}): "
                    f"change that place, or set strict: false of {described}."
                )


def _own_schemas(request: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The schemas that the job itself sends as strict: the parameter, their names, themselves."""
    given, tools = request.get("response_format"), request.get("tools")
    described: list[tuple[str, Any, str]] = []
    if isinstance(given, Mapping):
        described.append(("response_format", given.get("json_schema"), "schema"))
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, Mapping):
            described.append(("tools", tool.get("function"), "parameters"))
    for place, about, key in described:
        if isinstance(about, Mapping) and about.get("strict") is True:
            schema = about.get(key)
            if isinstance(schema, Mapping) and not has_markup(schema):
                yield f"request.{place}", str(about.get("name")), schema


def _unsure(renderer: Renderer) -> Iterator[str]:
    """Columns that will hold nothing although the schema has labels."""
    if renderer.labels is None:
        if renderer.answer_schema is not None and renderer.models[0].parameters.get("logprobs"):
            yield (
                "`confidence` and `probabilities` will be null: they are those of a schema's one enum of "
                "texts, and this schema has none at its top, or several."
            )
        return
    for model in renderer.models:
        if no_logprobs(model.name):
            yield f"{model.qualified_name} gives no logprobs: `confidence` and `probabilities` will be null."
        elif not model.parameters.get("logprobs") or not model.parameters.get("top_logprobs"):
            yield (
                f"{model.qualified_name}: `confidence` and `probabilities` will be null: "
                "request.logprobs: true and request.top_logprobs give what they are computed from."
            )


def _in_batches(survey: Survey) -> Iterator[str]:
    """What is to be known of a job whose rows go by a provider's batches."""
    job = survey.job
    if not job.engine.by_batch:
        return
    if any(model.parameters.get("stream") for model in survey.renderer.models):
        yield "request.stream has no effect in a batch: `ttft` will be null. Leave it out."
    several = [
        *(["prompt.turns"] if survey.renderer.prompt.spelled_turns else []),
        *(["run_tools"] if job.run_tools else []),
    ]
    again = job.retry.reask and survey.renderer.answer_schema is not None
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
