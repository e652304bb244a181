"""Where stored completions lie: the endpoint, as a job describes it or the command line names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from batchrun.errors import UsageError
from batchrun.job import Endpoint, Job
from batchrun.job.checking.known import did_you_mean
from batchrun.job.endpoints import named_endpoint


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint with one base URL, and the job that describes it, if one does."""

    endpoint: Endpoint
    job: Job | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.endpoint.name

    @property
    def key_hint(self) -> str:
        """What to do when the key is refused."""
        if self.endpoint.api_key_cmd:
            return f"Look at endpoints.{self.name}.api_key_cmd, the command that prints the key."
        if self.endpoint.api_key_env:
            return f"Check the key in {self.endpoint.api_key_env}, and what it has permission for."
        if self.job:
            return f"No key is sent: name the variable that holds one in endpoints.{self.name}.api_key_env."
        return "No key is sent: name the variable that holds one with --api-key-env NAME."


def place_of_job(job: Job, named: str | None) -> Place:
    """The endpoint of the job's first model, or another of the job's by its name or base URL.

    Raises UsageError.
    """
    name = named or job.models[0].endpoint
    found = job.endpoints.get(name) or _by_url(job, name)
    if found is None:
        raise UsageError(
            f"--endpoint {named}: the job has none of that name.{did_you_mean(name, job.endpoints)}",
            hint=f"Name one of the job's: {', '.join(job.endpoints)}.",
        )
    return Place(_single(found), job)


def place_named(named: str, api_key_env: str | None, env: Mapping[str, str]) -> Place:
    """A preset, or a base URL. Raises UsageError."""
    return Place(_single(named_endpoint(named, api_key_env, env)))


def _by_url(job: Job, url: str) -> Endpoint | None:
    found = (one for one in job.endpoints.values() if url.rstrip("/") in one.base_urls)
    endpoint = next(found, None)
    return endpoint and replace(endpoint, base_urls=(url.rstrip("/"),))


def _single(endpoint: Endpoint) -> Endpoint:
    if not endpoint.base_urls:
        raise UsageError(
            f"endpoint {endpoint.name}: batchrun starts this server for each submit, and nothing stays there",
            hint="Run `batchrun simulate`, and give the job the base_url that it says.",
        )
    if len(endpoint.base_urls) > 1:
        raise UsageError(
            f"endpoint {endpoint.name} has {len(endpoint.base_urls)} servers, each with its own completions",
            hint=f"Name one of them with --endpoint: {endpoint.base_url}",
        )
    return endpoint
