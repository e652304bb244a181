"""The endpoints of a job, opened: keys read, simulators started, connections ready."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from batchrun.client import (
    Client,
    CommandKey,
    EndpointClient,
    KeyCommand,
    ReplicaSet,
    Timeouts,
    build_transport,
    find_program,
)
from batchrun.errors import JobError, UsageError
from batchrun.job import Endpoint, Job

if TYPE_CHECKING:
    from batchrun.simulator import SimulatorConfig


def check_keys(job: Job, env: Mapping[str, str]) -> None:
    """Raises UsageError, naming every variable that a used endpoint's key is missing from.

    A command that prints a key is not run, but its program must exist.
    """
    used = [job.endpoints[name] for name in dict.fromkeys(model.endpoint for model in job.models)]
    said = [
        f"{endpoint.api_key_env} (endpoint {endpoint.name})"
        for endpoint in used
        if endpoint.api_key_env and not env.get(endpoint.api_key_env)
    ]
    if said:
        raise UsageError(
            f"no API key: the environment lacks {', '.join(said)}",
            hint="Set it with `export NAME=…`, or put NAME=… into a file and pass --env-file FILE.",
        )
    for endpoint in used:
        if endpoint.api_key_cmd and not find_program(endpoint.api_key_cmd, job.folder, env):
            raise UsageError(
                f"api_key_cmd of endpoint {endpoint.name}: there is no program {endpoint.api_key_cmd[0]}",
                hint="It is looked up in PATH; with a slash in its name it is a path from the job's folder. "
                'There is no shell: for ~, $NAME or NAME=value write [sh, -c, "…"].',
            )


def check_simulators(job: Job) -> None:
    """Raises JobError when the options of a simulator that the job's models use are wrong."""
    for name in {model.endpoint for model in job.models}:
        if not job.endpoints[name].base_urls:
            _simulator_config(job, job.endpoints[name])


@asynccontextmanager
async def open_clients(
    job: Job, env: Mapping[str, str], *, say: Callable[[str], None] = lambda text: None
) -> AsyncIterator[dict[str, EndpointClient]]:
    """A client for each endpoint that the job's models use, by name; closed with the block.

    `say` is told, while calls are made, of replicas that stay down and of keys that could not be renewed.
    Raises UsageError and JobError when an endpoint cannot be opened as the job describes it, or the command
    that prints its key fails.
    """
    async with AsyncExitStack() as stack:
        clients: dict[str, EndpointClient] = {}
        for name in dict.fromkeys(model.endpoint for model in job.models):
            endpoint = job.endpoints[name]
            key = await _command_key(job, endpoint, env, say)
            base_urls = endpoint.base_urls or (stack.enter_context(_simulator(job, endpoint)),)
            replicas: dict[str, EndpointClient] = {}
            for base_url in base_urls:
                replicas[base_url] = client = _client(job, endpoint, base_url, env, key)
                stack.push_async_callback(client.aclose)
            clients[name] = ReplicaSet(replicas, say=say) if len(replicas) > 1 else client
        yield clients


async def _command_key(
    job: Job, endpoint: Endpoint, env: Mapping[str, str], say: Callable[[str], None]
) -> CommandKey | None:
    if endpoint.api_key_cmd is None:
        return None
    command = KeyCommand(endpoint.name, endpoint.api_key_cmd, folder=job.folder, env=env)
    return CommandKey(command, await command.run(), say=say)


def _client(
    job: Job, endpoint: Endpoint, base_url: str, env: Mapping[str, str], command_key: CommandKey | None
) -> Client:
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
    return Client(
        base_url, headers=headers, timeouts=timeouts, transport=transport, secrets=secrets, key=command_key
    )


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
