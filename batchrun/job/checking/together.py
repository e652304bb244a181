"""What is wrong with a job only because of another section of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from batchrun.chat.request.parameter_schemas import schema_findings
from batchrun.chat.request.parameters import combination_findings
from batchrun.chat.stamps import leaves_no_room
from batchrun.job.checking.known import did_you_mean, nearest
from batchrun.job.document.place import Loc, Problem, dotted
from batchrun.job.endpoints import preset_of
from batchrun.job.presets import PRESETS
from batchrun.job.sections.file import JobFile
from batchrun.job.sections.rows import OPENAI_BATCH
from batchrun.job.sections.serving import EndpointSpec, ModelSpec


def together(file: JobFile, shell: Collection[Loc]) -> Iterator[Problem]:
    """Find what does not go together in sections that are right by themselves.

    `shell` are the locs of what an option of the shell replaced.
    """
    yield from _prompt(file)
    for loc, given, merged, endpoint in _requests(file):
        yield from (_problem(loc, given, name, text) for name, text in _wrong(file, merged, endpoint))
        yield from _schemas((*loc, "request"), given)
    yield from _schemas(("request",), file.request.spelled())
    yield from _prices(file, shell)


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


_SEPARATORS = re.compile(r"[-_. ]")
_SHORTEST_WORD = 3
"""Letters; in a shorter word another letter is another word."""


def _prices(file: JobFile, shell: Collection[Loc]) -> Iterator[Problem]:
    """Find the prices that no model of the job can have.

    A price may stand for a model that this submit leaves out: `--model` chooses another one for a run, and
    the run folder keeps the job that way. So only what can be nobody's price is refused, and what is a
    misspelling of a model that is asked and has no price of its own; with another model chosen in the shell
    it is none.
    """
    asked = [
        model.model if isinstance(model, ModelSpec) else model for model in (file.model, *file.fallbacks)
    ]
    endpoints = dict.fromkeys([*file.endpoints, *PRESETS, *(name.partition("/")[0] for name in asked)])
    replaced = any(loc[:1] in (("model",), ("fallbacks",)) for loc in shell)
    unpriced = [] if replaced else [model for model in asked if model not in file.prices]
    for spelled in file.prices:
        if spelled in asked:
            continue
        loc: Loc = ("prices", spelled)
        endpoint, _, name = spelled.partition("/")
        if endpoint not in endpoints:
            near = _same_model(spelled, asked) or nearest(spelled, asked)
            hint = f" Did you mean {near}?" if near else did_you_mean(endpoint, endpoints)
            yield Problem(loc, f"{dotted(loc)}: there is no endpoint {endpoint}.{hint}")
        elif meant := next((model for model in unpriced if _misspelled(spelled, model)), None):
            yield Problem(loc, f"{dotted(loc)}: the job asks no model of that name. Did you mean {meant}?")
        elif name == "*":
            yield Problem(loc, f"{dotted(loc)}: a price is one model's: name the models that rows ask for.")


def _same_model(spelled: str, asked: Iterable[str]) -> str | None:
    """The model whose name is given without its endpoint."""
    return next((model for model in asked if model.partition("/")[2] == spelled), None)


def _misspelled(spelled: str, model: str) -> bool:
    """Whether the two differ by a slip in the last part of their path.

    That is case, a separator, or one letter of a word. Another digit, or another word, is another model.
    """
    spelled, model = spelled.lower(), model.lower()
    (path, _, name), (of_model, _, wanted) = spelled.rpartition("/"), model.rpartition("/")
    if path != of_model or re.findall("[0-9]+", name) != re.findall("[0-9]+", wanted):
        return False
    if _SEPARATORS.sub("", name) == _SEPARATORS.sub("", wanted):
        return True
    words, others = (re.findall("[a-z]+|[^a-z]+", text) for text in (name, wanted))
    if len(words) != len(others):
        return False
    pairs = [(one, other) for one, other in zip(words, others, strict=True) if one != other]
    return len(pairs) == 1 and _one_slip(*pairs[0])


def _one_slip(word: str, other: str) -> bool:
    """Whether two words differ by one letter too many, missing or wrong, or by two swapped ones."""
    if min(len(word), len(other)) < _SHORTEST_WORD or not (word + other).isalpha():
        return False
    same = next((at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), None)
    if same is None:
        return abs(len(word) - len(other)) <= 1
    left, right = word[same:], other[same:]
    swapped = left[:2] == right[1::-1] and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]
