"""What Ray's errors mean for a run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from batchrun.cluster.link import WorkerBrokenError, WorkerLostError
from batchrun.cluster.ray_links import _answer

exceptions = pytest.importorskip("ray.exceptions", reason="Ray is not installed")

STARTED_BADLY = """The actor died as its creation task failed, \x1b[36mray::RayActor\x1b[39m
  File "/x.py", line 6, in __init__
ModuleNotFoundError: No module named 'batchrun'"""


async def failing(error: Exception) -> Any:
    raise error


def came_to(error: Exception) -> WorkerLostError:
    with pytest.raises(WorkerLostError) as caught:
        asyncio.run(_answer(failing(error)))
    return caught.value


def test_a_worker_that_cannot_start_is_broken() -> None:
    """Another one would not start either: what was wrong is said, not that an actor died."""
    error = exceptions.RayActorError()
    error.error_msg, error._actor_init_failed = STARTED_BADLY, True
    found = came_to(error)
    assert isinstance(found, WorkerBrokenError)
    assert str(found) == "ModuleNotFoundError: No module named 'batchrun'"


def test_a_worker_that_dies_is_lost() -> None:
    """And another one may do better."""
    found = came_to(exceptions.RayActorError())
    assert not isinstance(found, WorkerBrokenError)
    assert "\x1b" not in str(found)


def test_a_worker_that_is_to_end_ends() -> None:
    """Although a thread of it waits for work that never comes."""
    script = """if True:
        import threading
        from batchrun.cluster.messages import Setup
        from batchrun.cluster.ray_links import RayActor
        actor = RayActor(Setup("1", "", {}, None, 1.0, "run"))
        threading.Thread(target=threading.Event().wait).start()
    """
    assert subprocess.run([sys.executable, "-c", script], timeout=20, check=False).returncode == 0
