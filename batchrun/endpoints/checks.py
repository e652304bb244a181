"""What the endpoints of a job need before a first call: keys, and options that are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from batchrun.errors import JobError, UsageError
from batchrun.job import Endpoint, Job
from batchrun.job.sections.address import on_this_machine

if TYPE_CHECKING:
    from batchrun.simulator import SimulatorConfig


def check_keys(job: Job, env: Mapping[str, str]) -> None:
    """Raises UsageError, naming every variable that a used endpoint's key is missing from.

    A command that prints a key is not run, but its program must exist. Also when a key for this machine,
    which needs no encryption, would go through a proxy on another one.
    """
    check_endpoints([*job.used_endpoints.values()], env, job.folder)


def check_endpoints(used: Sequence[Endpoint], env: Mapping[str, str], folder: Path) -> None:
    """The same for these endpoints; `folder` is where commands that print keys are run."""
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
        if endpoint.api_key_cmd and not _has_program(folder, endpoint.api_key_cmd, env):
            raise UsageError(
                f"api_key_cmd of endpoint {endpoint.name}: there is no program {endpoint.api_key_cmd[0]}",
                hint="It is looked up in PATH; with a slash in its name it is a path from the job's folder. "
                'There is no shell: for ~, $NAME or NAME=value write [sh, -c, "…"].',
            )


def _has_program(folder: Path, command: Sequence[str], env: Mapping[str, str]) -> bool:
    from batchrun.client import find_program  # what makes calls takes 20 ms to load

    return find_program(command, folder, env) is not None


def _check_proxy(endpoint: Endpoint) -> None:
    has_key = endpoint.api_key_env or endpoint.api_key_cmd
    plain = any(url.startswith("http:") for url in endpoint.base_urls)
    if has_key and plain and endpoint.proxy and not on_this_machine(endpoint.proxy):
        raise UsageError(
            f"endpoint {endpoint.name}: its proxy would see the key, as base_url is http",
            hint="Remove endpoints.NAME.proxy, or use https in base_url: then the proxy only passes it on.",
        )


def check_simulators(job: Job) -> None:
    """Raises JobError when the options of a simulator that the job's models use are wrong."""
    for endpoint in job.used_endpoints.values():
        if not endpoint.base_urls:
            simulator_config(job, endpoint)


def simulator_config(job: Job, endpoint: Endpoint) -> SimulatorConfig:
    """The options of the endpoint's simulator. Raises JobError when they are wrong."""
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
