"""Endpoints as a run uses them: what the job says, laid over what a preset knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from batchrun.chat.request.wire import Instructions, TokenLimit
from batchrun.errors import UsageError
from batchrun.job.checking.known import did_you_mean
from batchrun.job.document.place import Loc, Problem, dotted
from batchrun.job.presets import CUSTOM, PRESETS, SIMULATOR, Preset, Uploads
from batchrun.job.sections.address import check_base_url, check_base_urls, command_words, in_clear
from batchrun.job.sections.serving import EndpointSpec, LimitsSpec
from batchrun.limits import MOST_CONCURRENCY, Limits

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server to call.

    Attributes:
        name: as the job calls it.
        base_urls: what `/chat/completions` is appended to, of each replica; empty where batchrun is
            to start the simulator itself.
        api_key_env: the variable that holds the key, if one does.
        api_key_cmd: the words of the command that prints it, if one does.
        api_key_header: the header that carries it, in lower case.
        limits: for all models of the endpoint together; `concurrency` is never None.
        uploads: how it wants files.
        headers: sent with every request. Not shown in a repr, and neither is `proxy`.
        ca_file: an absolute path.
        simulator: options of a simulator that batchrun starts, as the job spells them.
        token_limit: the only name of the token limit that it knows; None where it knows both.
        instructions: the only role of instructions that it knows; None where it knows both.
        any_schema: answers are held to any schema as it stands, so that none is made strict for it.
    """

    name: str
    base_urls: tuple[str, ...]
    api_key_env: str | None
    api_key_cmd: tuple[str, ...] | None
    api_key_header: str
    limits: Limits
    uploads: Uploads
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    simulator: Mapping[str, Any] | None = None
    token_limit: TokenLimit | None = None
    instructions: Instructions | None = None
    any_schema: bool = False

    @property
    def base_url(self) -> str | None:
        """The URLs as a text for people."""
        return ", ".join(self.base_urls) or None


def resolve(name: str, spec: EndpointSpec, *, env: Mapping[str, str], ca_file: Path | None) -> Endpoint:
    """Lay what the job says of an endpoint over its preset; `endpoint_problems` must have found none."""
    preset = preset_of(name, spec)
    return Endpoint(
        name=name,
        base_urls=_urls(check_base_urls(spec.base_url or _preset_url(preset, env))),
        api_key_env=_key_variable(preset, spec),
        api_key_cmd=command_words(spec.api_key_cmd) if spec.api_key_cmd else None,
        api_key_header=spec.api_key_header or preset.api_key_header,
        limits=replace(limits_of(spec.limits), concurrency=spec.limits.concurrency or "auto"),
        headers=spec.headers,
        proxy=spec.proxy,
        ca_file=ca_file,
        simulator=spec.simulator,
        token_limit=_laid_over(preset.token_limit, spec, "token_limit"),
        instructions=_laid_over(preset.instructions, spec, "instructions"),
        any_schema=preset.any_schema,
        uploads=preset.uploads,
    )


def preset_of(name: str, spec: EndpointSpec) -> Preset:
    """What the endpoint begins with."""
    return PRESETS.get(_preset_name(name, spec) or "", CUSTOM)


def limits_of(spec: LimitsSpec) -> Limits:
    """The limits as a job gives them."""
    most = spec.max_concurrency or MOST_CONCURRENCY
    return Limits(spec.rpm, spec.tpm, spec.concurrency, most, spec.window, spec.count)


def endpoint_problems(name: str, spec: EndpointSpec, env: Mapping[str, str]) -> Iterator[Problem]:
    """Say what cannot be together in an endpoint, or is missing from it."""
    here: Loc = ("endpoints", name)
    preset_name = _preset_name(name, spec)
    if spec.preset is not None and spec.preset not in PRESETS:
        hint = did_you_mean(spec.preset, PRESETS)
        yield _problem((*here, "preset"), f"must be one of {', '.join(PRESETS)}; found {spec.preset}.{hint}")
        return
    preset = preset_of(name, spec)
    if preset_name is None and spec.base_url is None:
        hint = did_you_mean(name, PRESETS)
        text = f"needs a base_url, as {name} is no preset.{hint} Presets: {', '.join(PRESETS)}."
        yield _problem(here, text)
    elif preset_name != SIMULATOR and not (spec.base_url or _preset_url(preset, env)):
        yield _problem(here, f"needs a base_url: {preset_name} is served at an address of your own.")
    if spec.simulator is not None and preset_name != SIMULATOR:
        text = "is only for the simulator. To give it another name, write preset: simulator."
        yield _problem((*here, "simulator"), text)
    elif spec.simulator is not None and spec.base_url is not None:
        text = "has no effect on a server that runs already: remove it, or base_url."
        yield _problem((*here, "simulator"), text)
    for given in spec.headers:
        if given.lower() == (spec.api_key_header or preset.api_key_header):
            yield _problem((*here, "headers", given), "carries the key (api_key_header): leave it out.")
    yield from _url_problems(here, spec, preset, env)


def _url_problems(here: Loc, spec: EndpointSpec, preset: Preset, env: Mapping[str, str]) -> Iterator[Problem]:
    try:
        urls = _urls(spec.base_url or check_base_url(_preset_url(preset, env)))
    except ValueError as error:
        yield _problem(here, f"the variable {preset.base_url_env} {error}.")
        return
    if not (spec.api_key_cmd or _key_variable(preset, spec)):
        return
    without = "without api_key_cmd" if spec.api_key_cmd else "api_key_env: null"
    for at, url in enumerate(urls):
        if not in_clear(url):
            continue
        part: Loc = (*here, "base_url", at) if isinstance(spec.base_url, tuple) else (*here, "base_url")
        origin = "" if spec.base_url else f", from the variable {preset.base_url_env},"
        text = f"would send the key unencrypted: use https, or {without} where none is needed."
        yield Problem(part, f"{dotted(part)}{origin} {text}")


def _urls(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return given if isinstance(given, tuple) else (given,)


def _preset_name(name: str, spec: EndpointSpec) -> str | None:
    return spec.preset or (name if name in PRESETS else None)


def _preset_url(preset: Preset, env: Mapping[str, str]) -> str | None:
    return env.get(preset.base_url_env or "") or preset.base_url


def _key_variable(preset: Preset, spec: EndpointSpec) -> str | None:
    return None if spec.api_key_cmd else _laid_over(preset.api_key_env, spec, "api_key_env")


def _laid_over(known: _T, spec: EndpointSpec, key: str) -> _T:
    """What the job says, null too; else what the preset knows."""
    given: _T = getattr(spec, key)
    return given if key in spec.model_fields_set else known


def _problem(loc: Loc, text: str) -> Problem:
    return Problem(loc, f"{dotted(loc)}: {text}")


def named_endpoint(named: str, api_key_env: str | None, env: Mapping[str, str]) -> Endpoint:
    """The preset or the base URL that `named` is; `api_key_env` is the variable with the key.

    A preset has a variable of its own, a URL has none: no key is sent then. Raises UsageError for what is
    neither, and where a key would be sent unencrypted.
    """
    is_url = "://" in named
    if not is_url and named not in PRESETS:
        raise UsageError(
            f"--endpoint {named}: neither a preset nor a URL.{did_you_mean(named, PRESETS)}",
            hint=f"Presets: {', '.join(PRESETS)}. Or give a base URL: https://api.example.com/v1",
        )
    given = {"api_key_env": api_key_env} if api_key_env else {}
    try:
        base_url = check_base_url(named) if is_url else None
        name = urlsplit(named).netloc if is_url else named
        endpoint = resolve(
            name, EndpointSpec.model_validate({"base_url": base_url, **given}), env=env, ca_file=None
        )
    except ValueError as error:
        raise UsageError(
            f"--endpoint: {_why(error)}", hint="Give a base URL like https://api.example.com/v1, or a preset."
        ) from None  # not chained: it may quote a key
    if not endpoint.base_urls and named != SIMULATOR:
        raise UsageError(
            f"--endpoint {named}: is served at an address of your own",
            hint="Name a job file that gives its base_url.",
        )
    if endpoint.api_key_env and any(map(in_clear, endpoint.base_urls)):
        raise UsageError(
            f"--endpoint {endpoint.base_url} would send the key unencrypted",
            hint="Use https, or leave out --api-key-env where no key is needed.",
        )
    return endpoint


def _why(error: ValueError) -> str:
    """What is wrong, without the value: it may be a key."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
    return f"the URL {error}"
