"""The endpoints of a job, opened: keys read, simulators started, connections ready."""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from batchrun.client import (
    BodyMemory,
    Client,
    CommandKey,
    EndpointClient,
    KeyCommand,
    ReplicaSet,
    Resources,
    Server,
    Timeouts,
    Transport,
    build_transport,
    key_header,
)
from batchrun.client.hiding import password_in
from batchrun.client.resources import PATIENT
from batchrun.endpoints.checks import simulator_config
from batchrun.job import Endpoint, Job, Retry


def key_sources(job: Job) -> dict[str, str]:
    """By the endpoints of the job's models: where the key comes from that each of them is sent."""
    return {name: _key_source(endpoint) for name, endpoint in job.used_endpoints.items()}


def _key_source(endpoint: Endpoint) -> str:
    if endpoint.api_key_cmd:
        return "the key that api_key_cmd prints"
    if endpoint.api_key_env:
        return f"the key in {endpoint.api_key_env}"
    return f"no key is sent: endpoints.{endpoint.name}.api_key_env names the variable that holds one"


@dataclass(frozen=True, slots=True)
class Opened:
    """Endpoints that are ready, by name. `resources` are only those with one base URL: several servers do not
    know of each other's files."""

    clients: dict[str, EndpointClient] = field(default_factory=dict)
    resources: dict[str, Resources] = field(default_factory=dict)


@asynccontextmanager
async def open_endpoints(
    job: Job,
    env: Mapping[str, str],
    *,
    say: Callable[[str], None] = lambda text: None,
    with_resources: bool = False,
) -> AsyncIterator[Opened]:
    """The endpoints that the job's models use; closed with the block.

    `say` is told, while calls are made, of replicas that stay down and of keys that could not be renewed.
    Raises UsageError and JobError when an endpoint cannot be opened as the job describes it, or the command
    that prints its key fails.
    """
    async with AsyncExitStack() as stack:
        opened = Opened()
        memory = BodyMemory()
        for name, endpoint in job.used_endpoints.items():
            key = await _command_key(job, endpoint, env, say)
            base_urls = endpoint.base_urls or (stack.enter_context(_simulator(job, endpoint)),)
            replicas: dict[str, EndpointClient] = {}
            for base_url in base_urls:
                replicas[base_url] = client = _client(job, endpoint, base_url, env, key, memory)
                stack.push_async_callback(client.aclose)
            opened.clients[name] = ReplicaSet(replicas, say=say) if len(replicas) > 1 else client
            if with_resources and len(replicas) == 1:
                opened.resources[name] = resources = _resources(job, endpoint, base_urls[0], env, key)
                stack.push_async_callback(resources.aclose)
        yield opened


@asynccontextmanager
async def open_resources(
    endpoint: Endpoint, env: Mapping[str, str], *, job: Job | None = None, connections: int = 2
) -> AsyncIterator[Resources]:
    """The other paths of one endpoint with one base URL; closed with the block.

    `job` is the one that describes the endpoint, None where only the command line names it. Raises as
    `open_endpoints`.
    """
    key = await _command_key(job, endpoint, env, lambda text: None)
    async with aclosing(_resources(job, endpoint, endpoint.base_urls[0], env, key, connections)) as resources:
        yield resources


async def _command_key(
    job: Job | None, endpoint: Endpoint, env: Mapping[str, str], say: Callable[[str], None]
) -> CommandKey | None:
    if endpoint.api_key_cmd is None or job is None:
        return None
    command = KeyCommand(endpoint.name, endpoint.api_key_cmd, folder=job.folder, env=env)
    return CommandKey(command, await command.run(), header=endpoint.api_key_header, say=say)


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
    return Client(
        base_url,
        headers=_headers(endpoint, env),
        timeouts=timeouts,
        transport=_transport(endpoint, timeouts, endpoint.limits.most_in_flight or 1),
        secrets=[*_secrets(job, endpoint, env)],
        key=command_key,
        memory=memory,
    )


def _resources(
    job: Job | None,
    endpoint: Endpoint,
    base_url: str,
    env: Mapping[str, str],
    key: CommandKey | None,
    connections: int = 2,
) -> Resources:
    secrets = [*_secrets(job, endpoint, env)]
    server = Server(base_url, headers=_headers(endpoint, env), secrets=secrets, key=key)
    retry = job.retry if job else Retry()
    timeouts = Timeouts(retry.timeout.connect, PATIENT, PATIENT)  # each request has a total of its own
    return Resources(server, _transport(endpoint, timeouts, connections))


def _transport(endpoint: Endpoint, timeouts: Timeouts, connections: int) -> Transport:
    proxy, ca_file = endpoint.proxy, endpoint.ca_file
    return build_transport(timeouts, proxy=proxy, ca_file=ca_file, max_connections=connections)


def _headers(endpoint: Endpoint, env: Mapping[str, str]) -> dict[str, str]:
    key = env.get(endpoint.api_key_env) if endpoint.api_key_env else None
    return {**endpoint.headers, **(key_header(endpoint.api_key_header, key) if key else {})}


def _secrets(job: Job | None, endpoint: Endpoint, env: Mapping[str, str]) -> Iterator[str]:
    if endpoint.api_key_env:
        yield env.get(endpoint.api_key_env, "")
    if job:
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

    return start_process(simulator_config(job, endpoint))
