"""What is wrong with a job only because of another section of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from batchrun.chat.request.parameter_schemas import schema_findings
from batchrun.chat.request.parameters import combination_findings
from batchrun.chat.stamps import leaves_no_room
from batchrun.job.endpoints import preset_of
from batchrun.job.models import JobFile
from batchrun.job.place import Loc, Problem, dotted
from batchrun.job.priced import price_problems
from batchrun.job.sections import OPENAI_BATCH
from batchrun.job.serving import EndpointSpec, ModelSpec


def together(file: JobFile, shell: Collection[Loc] = ()) -> Iterator[Problem]:
    """Find what does not go together in sections that are right by themselves.

    `shell` are the locs of what an option of the shell replaced.
    """
    yield from _prompt(file)
    for loc, given, merged, endpoint in _requests(file):
        yield from (_problem(loc, given, name, text) for name, text in _wrong(file, merged, endpoint))
        yield from _schemas((*loc, "request"), given)
    yield from _schemas(("request",), file.request.spelled())
    yield from price_problems(file, shell)


def _schemas(loc: Loc, given: dict[str, Any]) -> Iterator[Problem]:
    for path, reason in schema_findings(given):
        here = (*loc, *path)
        yield Problem(here, f"{dotted(here)}: {reason}: correct the schema.")


def _prompt(file: JobFile) -> Iterator[Problem]:
    prompt = file.prompt
    if file.input.format != OPENAI_BATCH:
        if "prompt" in file.model_fields_set and not prompt.messages and prompt.messages_column is None:
            text = "prompt.messages is required and missing, or prompt.messages_column in its place."
            yield Problem(("prompt", "messages"), text)
        return
    for key in ("messages", "messages_column", "turns"):
        if getattr(prompt, key):
            text = (
                f"prompt.{key} has no place with input.format: {OPENAI_BATCH}: remove it; "
                "its rows are whole requests."
            )
            yield Problem(("prompt", key), text)


def _requests(file: JobFile) -> Iterator[tuple[Loc, dict[str, Any], dict[str, Any], str]]:
    """Each model's loc, its own parameters, all its parameters, and the name of its endpoint."""
    base = file.request.spelled()
    spelled = [(("model",), file.model), *((("fallbacks", at), one) for at, one in enumerate(file.fallbacks))]
    loc: Loc
    for loc, model in spelled:
        own = model.request.spelled() if isinstance(model, ModelSpec) else {}
        name = model.model if isinstance(model, ModelSpec) else model
        merged = {key: value for key, value in {**base, **own}.items() if value is not None}
        yield loc, own, merged, name.partition("/")[0]


def _problem(loc: Loc, own: dict[str, Any], name: str, text: str) -> Problem:
    """A problem at the parameter that the model gives, else at the job's own."""
    here = (*loc, "request", name) if name in own else ("request", name)
    where = f"{dotted(here)}: {text}"
    if name in own or loc == ("model",):
        return Problem(here, f"{where}.")
    return Problem(here, f"{where} (as {dotted(loc)} has it).")


def _wrong(file: JobFile, merged: dict[str, Any], endpoint: str) -> Iterator[tuple[str, str]]:
    tools = file.run_tools.functions if file.run_tools else ()
    if file.answer_schema is not None and "response_format" in merged:
        yield "response_format", "excludes the job's schema, which sets it: remove one of the two"
    if file.run_tools is not None:
        if merged.get("n", 1) != 1:
            yield "n", "must be 1 beside run_tools: one conversation is led for each row"
        if "functions" in merged:
            yield "functions", "exclude run_tools, which uses tools: remove one of the two"
    if file.input.format != OPENAI_BATCH:  # there the row's own request gives the rest
        yield from combination_findings(merged, tools)
    metadata = merged.get("metadata")
    if merged.get("store") is True and isinstance(metadata, dict) and (reason := leaves_no_room(metadata)):
        yield "metadata", reason
    stop = merged.get("stop")
    most = preset_of(endpoint, file.endpoints.get(endpoint, EndpointSpec())).most_stops
    if most is not None and isinstance(stop, list) and len(stop) > most:
        yield "stop", f"must have at most {most} texts for {endpoint}; found {len(stop)}"
