"""Workers as Ray actors. Ray is imported where it is used: `pip install batchrun[ray]` brings it."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, TypeVar

from batchrun.cluster.link import WorkerBrokenError, WorkerLostError
from batchrun.cluster.messages import Delivery, FromDriver, Setup
from batchrun.errors import UsageError

_T = TypeVar("_T")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_STARTS = 5
"""Workers that may be lost one after the other while they start."""

SLOW = 20.0
"""Seconds after which a worker is long in coming."""

_WAITING = (
    f"a worker has not come up for {SLOW:g} s: `ray status` says whether the cluster has room for it "
    "(engine.cpus is what each takes); rows go to those that are there"
)

_SAME_EVERYWHERE = "batchrun, in the same version, and Ray are to be installed on every node."


class RayActor:
    """What Ray makes an actor of. Its environment is that of its node: keys come from there."""

    def __init__(self, setup: Setup) -> None:
        from batchrun.cluster.worker import Worker

        self._worker = Worker(setup, dict(os.environ))
        self._work: asyncio.Task[None] | None = None
        # a thread that waits for work would keep the process for ever where its node or the driver has died:
        # Python joins such threads before anything that `atexit` has
        threading._register_atexit(os._exit, 0)  # type: ignore[attr-defined] # as concurrent.futures does

    async def start(self) -> str:
        """Begin to work; gives the name of the machine."""
        self._work = asyncio.ensure_future(self._worker.work())
        return f"{socket.gethostname()} ({os.getpid()})"

    async def collect(self, received: int) -> Delivery:
        """See `Worker.collect`. Raises what no worker should end with."""
        if self._work is not None and self._work.done():
            self._work.result()
        return await self._worker.collect(received)

    async def take(self, messages: Sequence[FromDriver]) -> None:
        """See `Worker.take`."""
        self._worker.take(list(messages))


class RayLink:
    """One actor, as a `Link`."""

    def __init__(self, actor: Any, name: str) -> None:
        self._actor = actor
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def give_up(self) -> None:
        import ray
        from ray.exceptions import RayError

        with suppress(RayError, ValueError):
            ray.kill(self._actor)

    async def collect(self, received: int) -> Delivery:
        return await _answer(self._actor.collect.remote(received))

    async def deliver(self, messages: Sequence[FromDriver]) -> None:
        await _answer(self._actor.take.remote(list(messages)))


@contextmanager
def ray_links(
    setup: Setup, *, address: str, workers: int, cpus: float, say: Callable[[str], None]
) -> Iterator[Callable[[], Awaitable[RayLink]]]:
    """Connect to a cluster in the block: what starts one more worker there, and waits until it is up.

    `address` is auto (the cluster that this machine is part of), local (one that is started here, and ends
    with the block), or HOST:PORT; `cpus` is what a worker is counted as. `say` is told, once, when a
    worker is long in coming. Raises UsageError.
    """
    told: list[str] = []
    # else Ray sends the working folder to every node and starts workers by uv, where `uv run` started us
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if address == "local":
        _close_to_others()
    ray = _imported()
    actor = ray.remote(num_cpus=cpus, max_restarts=0, scheduling_strategy="SPREAD")(RayActor)
    _connect(ray, address, workers=workers, cpus=cpus)

    async def hire() -> RayLink:
        for tried in count(1):
            handle = actor.remote(setup)
            try:
                starting = asyncio.ensure_future(_answer(handle.start.remote()))
                try:
                    await asyncio.wait([starting], timeout=SLOW)
                    if not starting.done() and not told:
                        told.append(_WAITING)
                        say(_WAITING)
                    return RayLink(handle, await starting)
                finally:
                    starting.cancel()
            except WorkerLostError as lost:
                # once its node may have gone while it came up
                if tried == _STARTS or isinstance(lost, WorkerBrokenError):
                    raise UsageError(f"no worker could be started: {lost}", hint=_SAME_EVERYWHERE) from lost
                await asyncio.sleep(1)
        raise AssertionError("it returns or raises")

    try:
        yield hire
    finally:
        ray.shutdown()


def _close_to_others() -> None:
    """Ray listens on every interface: nobody else may ask what is started here. It reads this when it is
    imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "engine.kind: ray needs Ray, which is not installed",
            hint="Install it: pip install 'batchrun[ray]'; here and on every node of the cluster.",
        ) from error
    return ray


def _connect(ray: Any, address: str, *, workers: int, cpus: float) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        if address == "local":
            ray.init(
                num_cpus=max(1, round(workers * cpus + 0.5)),
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"engine.address {address}: no Ray cluster can be reached: {first}",
            hint="Start one with `ray start --head` (and `ray start --address=…` on the other nodes), or say "
            "engine.address: local.",
        ) from error


async def _answer(reference: Awaitable[_T]) -> _T:
    """What an actor answers. Raises WorkerLostError, which is WorkerBrokenError where its own code failed."""
    from ray.exceptions import RayActorError, RayError, RayTaskError

    try:
        return await reference
    except RayTaskError as error:
        raise WorkerBrokenError(f"a worker failed: {error.cause!r}") from error
    except RayError as error:
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise WorkerBrokenError(_lines(error)[-1]) from error  # below the traceback
        raise WorkerLostError(_lines(error)[0]) from error


def _lines(error: Exception) -> list[str]:
    """What an error says, without Ray's colours; at least its name."""
    lines = [_COLOUR.sub("", line).strip()[:200] for line in str(error).splitlines()]
    return [line for line in lines if line] or [type(error).__name__]
