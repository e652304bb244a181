"""All checks of a job that has been read: each adds to one list, so that one message shows all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from batchrun.job.checking.complaints import complaints
from batchrun.job.checking.known import description_of, did_you_mean
from batchrun.job.checking.together import together
from batchrun.job.document.document import WORDS, Document
from batchrun.job.document.interpolate import Reference, expand
from batchrun.job.document.place import Loc, Problem, dotted
from batchrun.job.endpoints import endpoint_problems
from batchrun.job.job import ANY_MODEL
from batchrun.job.presets import PRESETS
from batchrun.job.sections.address import NAME_THE_VARIABLE, looks_like_key
from batchrun.job.sections.fields import VARIABLES, run_name
from batchrun.job.sections.file import JobFile
from batchrun.job.sections.prompt import Request
from batchrun.job.sections.rows import OPENAI_BATCH
from batchrun.job.sections.serving import EndpointSpec

_BY_THEMSELVES = (EndpointSpec, Request)
"""Sections that are also made outside of a job file. Built first, they become parts of it as they are; built
after it, they would be built twice."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A job after its checks: `file` is None when the sections themselves are wrong."""

    file: JobFile | None
    problems: list[Problem]


def check(document: Document, *, stem: str, env: Mapping[str, str]) -> Checked:
    """Expand the variables of `document` and check what comes out.

    `stem` is the file's name without suffix, which names the job when nothing else does.
    """
    if not isinstance(document.value, dict):
        return Checked(None, document.problems)
    expansion = expand(document, env)
    found = [*document.problems, *expansion.problems, *_words(document), *written_keys(document.value)]
    found += expanded_keys(expansion.references, _key_variables(expansion.value))
    file: JobFile | None = None
    for section in _BY_THEMSELVES:
        section.model_rebuild()
    try:
        file = JobFile.model_validate(expansion.value, context=VARIABLES)
        found += together(file, document.shell)
    except ValidationError as error:
        found += complaints(error, document)
    found += [*_name(document.value, stem), *_prompt(expansion.value), *_models(expansion.value)]
    found += _endpoints(expansion.value, env)
    return Checked(file, _one_each(found))


def _one_each(problems: Iterable[Problem]) -> list[Problem]:
    """Keep the first problem of each value: the later ones are its consequences."""
    kept: dict[tuple[Loc, int | None, str | None], Problem] = {}
    said: set[Loc] = set()
    for problem in problems:
        if problem.loc not in said or problem.line is not None or problem.option is not None:
            kept.setdefault((problem.loc, problem.line, problem.option), problem)
        said.add(problem.loc)
    return list(kept.values())


def _words(document: Document) -> Iterator[Problem]:
    """Refuse an unquoted yes, no, on or off where any value is taken: it may have been meant as a word."""
    for loc, word in document.words.items():
        if loc[:2] == ("prompt", "vars") or loc[0] == "schema" or "request" in loc[:3]:
            value = "true" if WORDS[word.lower()] else "false"
            text = f'{word} without quotes is {value} in YAML: write {value}, or "{word}" for the word.'
            yield Problem(loc, f"{dotted(loc)}: {text}")


def _name(value: dict[str, Any], stem: str) -> Iterator[Problem]:
    if "name" in value:
        return
    try:
        run_name(stem)
    except ValueError:
        text = f"name is missing, and {stem!r}, from the file's name, cannot name a folder: add a name."
        yield Problem(("name",), text)


def _format(value: dict[str, Any]) -> Any:
    section = value.get("input")
    return section.get("format") if isinstance(section, dict) else None


def _prompt(value: dict[str, Any]) -> Iterator[Problem]:
    if "prompt" not in value and _format(value) != OPENAI_BATCH:
        yield Problem(("prompt",), f"prompt is required and missing. {description_of(JobFile, 'prompt')}")


def _key_variables(value: dict[str, Any]) -> set[str]:
    """The variables that hold keys, of this job's endpoints and of all presets."""
    presets = [preset.api_key_env for preset in PRESETS.values()]
    own = [spec.get("api_key_env") for _, spec in _members(value.get("endpoints"))]
    return {name for name in (*presets, *own) if isinstance(name, str)}


def _models(value: dict[str, Any]) -> Iterator[Problem]:
    """Find models whose endpoint is neither described nor a preset."""
    known = [*PRESETS, *(name for name, _ in _members(value.get("endpoints")))]
    for loc, spelled in _spelled_models(value):
        endpoint, slash, name = spelled.partition("/")
        if name == ANY_MODEL and _format(value) != OPENAI_BATCH:
            text = f"{spelled} is the model that a row itself names: it needs input.format: {OPENAI_BATCH}."
            yield Problem(loc, f"{dotted(loc)}: {text}")
        if slash and endpoint and endpoint not in known:
            text = f"there is no endpoint {endpoint}.{did_you_mean(endpoint, known)}"
            yield Problem(loc, f"{dotted(loc)}: {text} Known here: {', '.join(dict.fromkeys(known))}.")


def _spelled_models(value: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    fallbacks = value.get("fallbacks")
    given: list[tuple[Loc, Any]] = [(("model",), value.get("model"))]
    given += [
        (("fallbacks", at), model)
        for at, model in enumerate(fallbacks if isinstance(fallbacks, list) else [])
    ]
    for loc, model in given:
        if isinstance(model, dict):
            loc, model = (*loc, "model"), model.get("model")
        if isinstance(model, str):
            yield loc, model


def _endpoints(value: dict[str, Any], env: Mapping[str, str]) -> Iterator[Problem]:
    """Check each endpoint whose own section is right, and each preset that is used without one."""
    used = {spelled.partition("/")[0] for _, spelled in _spelled_models(value)}
    specs: dict[str, dict[str, Any]] = {name: {} for name in PRESETS if name in used}
    for name, spec in (specs | dict(_members(value.get("endpoints")))).items():
        try:
            checked = EndpointSpec.model_validate(spec)
        except ValidationError:
            continue  # told already
        yield from endpoint_problems(name, checked, env)


def _members(value: Any) -> list[tuple[str, dict[str, Any]]]:
    return (
        [(key, spec) for key, spec in value.items() if isinstance(spec, dict)]
        if isinstance(value, dict)
        else []
    )


def written_keys(value: Any, loc: Loc = ()) -> Iterator[Problem]:
    """Find text with the form of a key, and passwords of proxies, in a job before expansion.

    Prompts may hold such text: a job may be about finding it.
    """
    if loc == ("prompt",):
        return
    if isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for part, member in members:
            yield from written_keys(member, (*loc, part))
    elif isinstance(value, str) and looks_like_key(value):
        yield Problem(
            loc, f"{dotted(loc)} looks like a key, which is never written in a job: {NAME_THE_VARIABLE}."
        )
    elif isinstance(value, str) and loc[-1] == "proxy" and "@" in value and "${" not in value:
        yield Problem(loc, f"{dotted(loc)} must not hold a password: put ${{VARIABLE}} in its place.")


def expanded_keys(references: Iterable[Reference], key_variables: set[str]) -> Iterator[Problem]:
    """Find variables that hold a key, named where their value would be sent or written."""
    for reference in references:
        where = dotted(reference.loc)
        if reference.loc[-1] == "api_key_env":
            yield Problem(reference.loc, f"{where} must be the variable's name by itself, without ${{}}.")
        elif reference.variable in key_variables:
            text = f"must not use {reference.variable}, which holds a key: only api_key_env may name it"
            yield Problem(reference.loc, f"{where} {text}.")
