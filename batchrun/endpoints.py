"""The endpoints of a job, opened: keys read, simulators started, connections ready."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from batchrun.client import Client, Timeouts, build_transport
from batchrun.errors import JobError, UsageError
from batchrun.job import Endpoint, Job

if TYPE_CHECKING:
    from batchrun.simulator import SimulatorConfig


def check_keys(job: Job, env: Mapping[str, str]) -> None:
    """Raises UsageError, naming every variable that a used endpoint's key is missing from."""
    used = dict.fromkeys(job.endpoints[model.endpoint].name for model in job.models)
    missing = {
        name: job.endpoints[name].api_key_env
        for name in used
        if job.endpoints[name].api_key_env and not env.get(job.endpoints[name].api_key_env or "")
    }
    if missing:
        said = ", ".join(f"{variable} (endpoint {name})" for name, variable in missing.items())
        raise UsageError(
            f"no API key: the environment lacks {said}",
            hint="Set it with `export NAME=…`, or put NAME=… into a file and pass --env-file FILE.",
        )


def check_simulators(job: Job) -> None:
    """Raises JobError when the options of a simulator that the job's models use are wrong."""
    for name in {model.endpoint for model in job.models}:
        if job.endpoints[name].base_url is None:
            _simulator_config(job, job.endpoints[name])


@asynccontextmanager
async def open_clients(job: Job, env: Mapping[str, str]) -> AsyncIterator[dict[str, Client]]:
    """A client for each endpoint that the job's models use, by name; closed with the block.

    Raises UsageError and JobError when an endpoint cannot be opened as the job describes it.
    """
    async with AsyncExitStack() as stack:
        clients = {}
        for name in dict.fromkeys(model.endpoint for model in job.models):
            endpoint = job.endpoints[name]
            base_url = endpoint.base_url or stack.enter_context(_simulator(job, endpoint))
            client = _client(job, endpoint, base_url, env)
            stack.push_async_callback(client.aclose)
            clients[name] = client
        yield clients


def _client(job: Job, endpoint: Endpoint, base_url: str, env: Mapping[str, str]) -> Client:
    waits = job.retry.timeout
    timeouts = Timeouts(waits.connect, waits.idle, waits.total)
    key = env.get(endpoint.api_key_env) if endpoint.api_key_env else None
    headers = {**endpoint.headers, **({"authorization": f"Bearer {key}"} if key else {})}
    transport = build_transport(
        timeouts,
        proxy=endpoint.proxy,
        ca_file=endpoint.ca_file,
        max_connections=endpoint.limits.most_in_flight or 1,
    )
    secrets = [*([key] if key else []), *_expanded_headers(job, endpoint)]
    return Client(base_url, headers=headers, timeouts=timeouts, transport=transport, secrets=secrets)


def _expanded_headers(job: Job, endpoint: Endpoint) -> list[str]:
    """The values of headers that the job takes from variables: whatever is not written down is a secret."""
    described = (job.document.get("endpoints") or {}).get(endpoint.name) or {}
    spelled = described.get("headers") or {}
    values = [value for name, value in endpoint.headers.items() if "${" in str(spelled.get(name, ""))]
    return [*values, *(value.rpartition(" ")[2] for value in values)]  # `Token ${VAR}`: the key by itself


def _simulator(job: Job, endpoint: Endpoint) -> AbstractContextManager[str]:
    from batchrun.simulator import start_process  # only jobs that use it pay for the import

    return start_process(_simulator_config(job, endpoint))


def _simulator_config(job: Job, endpoint: Endpoint) -> SimulatorConfig:
    from batchrun.simulator import SimulatorConfig

    try:
        return SimulatorConfig.model_validate(dict(endpoint.simulator or {}))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = _without_tags(first["loc"], endpoint.simulator)
        raise JobError(
            f"{job.where('endpoints', endpoint.name, 'simulator', *loc)}: {first['msg']}",
            hint="`batchrun simulate --help` explains the simulator's options.",
        ) from error


def _without_tags(loc: tuple[int | str, ...], value: Any) -> list[int | str]:
    """The parts of pydantic's `loc` that are keys and positions; it also names the kinds of a union."""
    kept = []
    for part in loc:
        if isinstance(value, list) and isinstance(part, int):
            value = value[part]
        elif isinstance(value, Mapping) and (part in value or part == loc[-1]):
            value = value.get(part)
        else:
            continue
        kept.append(part)
    return kept
