"""An endpoint that the command line names, without a job that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from batchrun.errors import UsageError
from batchrun.job.address import check_base_url, in_clear
from batchrun.job.endpoints import Endpoint, resolve
from batchrun.job.known import did_you_mean
from batchrun.job.presets import PRESETS, SIMULATOR
from batchrun.job.serving import EndpointSpec


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
    if not endpoint.base_urls and endpoint.preset != SIMULATOR:
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
