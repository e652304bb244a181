"""The endpoints of a job, opened: keys read, simulators started, connections ready."""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from batchrun.client import (
    BodyMemory,
    Client,
    CommandKey,
    EndpointClient,
    KeyCommand,
    ReplicaSet,
    Timeouts,
    build_transport,
    find_program,
)
from batchrun.client.hiding import password_in
from batchrun.errors import JobError, UsageError
from batchrun.job import Endpoint, Job
from batchrun.job.address import in_clear

if TYPE_CHECKING:
    from batchrun.simulator import SimulatorConfig


def check_keys(job: Job, env: Mapping[str, str]) -> None:
    """Raises UsageError, naming every variable that a used endpoint's key is missing from.

    A command that prints a key is not run, but its program must exist. Also when a key for this machine,
    which needs no encryption, would go through a proxy on another one.
    """
    used = [job.endpoints[name] for name in dict.fromkeys(model.endpoint for model in job.models)]
    lacking = {
        endpoint.name: endpoint.api_key_env
        for endpoint in used
        if endpoint.api_key_env and not env.get(endpoint.api_key_env)
    }
    if lacking:
        said = ", ".join(f"{variable} (endpoint {name})" for name, variable in lacking.items())
        lines = [f"{variable}=…" for variable in dict.fromkeys(lacking.values())]
        it, a_line = ("it", "the line") if len(lines) == 1 else ("them", "the lines")
        raise UsageError(
            f"no API key: the environment lacks {said}",
            hint=f"Set {it} with `export {' '.join(lines)}`, or put {a_line} {', '.join(lines)} into a file "
            "and pass --env-file FILE.",
        )
    for endpoint in used:
        _check_proxy(endpoint)
        if endpoint.api_key_cmd and not find_program(endpoint.api_key_cmd, job.folder, env):
            raise UsageError(
                f"api_key_cmd of endpoint {endpoint.name}: there is no program {endpoint.api_key_cmd[0]}",
                hint="It is looked up in PATH; with a slash in its name it is a path from the job's folder. "
                'There is no shell: for ~, $NAME or NAME=value write [sh, -c, "…"].',
            )


def key_sources(job: Job) -> dict[str, str]:
    """By the endpoints of the job's models: where the key comes from that each of them is sent."""
    return {name: _key_source(job.endpoints[name]) for name in {model.endpoint for model in job.models}}


def _key_source(endpoint: Endpoint) -> str:
    if endpoint.api_key_cmd:
        return "the key that api_key_cmd prints"
    if endpoint.api_key_env:
        return f"the key in {endpoint.api_key_env}"
    return f"no key is sent: endpoints.{endpoint.name}.api_key_env names the variable that holds one"


def _check_proxy(endpoint: Endpoint) -> None:
    has_key = endpoint.api_key_env or endpoint.api_key_cmd
    plain = any(url.startswith("http:") for url in endpoint.base_urls)
    if has_key and plain and endpoint.proxy and in_clear(endpoint.proxy):
        raise UsageError(
            f"endpoint {endpoint.name}: its proxy would be sent the key unencrypted, as base_url is http",
            hint="Remove endpoints.NAME.proxy, or use https in base_url: then the proxy only passes it on.",
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
        memory = BodyMemory()
        for name in dict.fromkeys(model.endpoint for model in job.models):
            endpoint = job.endpoints[name]
            key = await _command_key(job, endpoint, env, say)
            base_urls = endpoint.base_urls or (stack.enter_context(_simulator(job, endpoint)),)
            replicas: dict[str, EndpointClient] = {}
            for base_url in base_urls:
                replicas[base_url] = client = _client(job, endpoint, base_url, env, key, memory)
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
    job: Job,
    endpoint: Endpoint,
    base_url: str,
    env: Mapping[str, str],
    command_key: CommandKey | None,
    memory: BodyMemory,
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
    return Client(
        base_url,
        headers=headers,
        timeouts=timeouts,
        transport=transport,
        secrets=[*_secrets(job, endpoint, env)],
        key=command_key,
        memory=memory,
    )


def secrets_of(job: Job, env: Mapping[str, str]) -> Iterator[str]:
    """The keys and passwords that the endpoints of the job's models are sent, but for those of commands."""
    for name in dict.fromkeys(model.endpoint for model in job.models):
        yield from _secrets(job, job.endpoints[name], env)


def _secrets(job: Job, endpoint: Endpoint, env: Mapping[str, str]) -> Iterator[str]:
    if endpoint.api_key_env:
        yield env.get(endpoint.api_key_env, "")
    yield from _expanded_headers(job, endpoint)
    yield from _proxy_passwords(endpoint)


def _expanded_headers(job: Job, endpoint: Endpoint) -> list[str]:
    """The values of headers that the job takes from variables: whatever is not written down is a secret."""
    described = (job.document.get("endpoints") or {}).get(endpoint.name) or {}
    spelled = described.get("headers") or {}
    values = [value for name, value in endpoint.headers.items() if "${" in str(spelled.get(name, ""))]
    return [*values, *(value.rpartition(" ")[2] for value in values)]  # `Token ${VAR}`: the key by itself


def _proxy_passwords(endpoint: Endpoint) -> list[str]:
    """A proxy may quote its password: that of the job's proxy, else of the environment's."""
    proxies = [endpoint.proxy] if endpoint.proxy else urllib.request.getproxies().values()
    return [password for proxy in proxies for password in password_in(proxy)]


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
