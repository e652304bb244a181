"""lm-deluge at its fastest: its batch call, limits out of the way, no cache, no progress.

Its batch call does not stream: it asks OpenAI's own models alone for streams, and those of an agent's turns.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from lm_deluge import Conversation, LLMClient  # type: ignore[import-not-found,unused-ignore] # as below
from lm_deluge.models import (  # type: ignore[import-not-found,unused-ignore] # installed where the peers are
    register_model,
)

from tests.benchmarks.peers.task import Task, perform

_NO_LIMIT = 10**12
_ID = "batchrun-benchmark"
_KEY = "DELUGE_BENCHMARK_KEY"


def _client(task: Task) -> Any:
    register_model(
        id=_ID,
        name="small",
        api_base=task.base_url,
        api_key_env_var=_KEY,
        supports_json=True,
        supports_logprobs=True,
    )
    return LLMClient(
        _ID,
        max_concurrent_requests=task.in_flight,
        max_requests_per_minute=_NO_LIMIT,
        max_tokens_per_minute=_NO_LIMIT,
        request_timeout=600,
        max_new_tokens=task.request["max_completion_tokens"],
        temperature=task.request["temperature"],
        logprobs=task.request.get("logprobs", False),
        top_logprobs=task.request.get("top_logprobs"),
    )


async def _all(task: Task) -> int:
    prompts = [Conversation().user(prompt) for prompt in task.prompts()]
    answers = await _client(task).process_prompts_async(
        prompts, show_progress=False, output_schema=task.schema
    )
    return sum(bool(not answer.is_error and answer.completion) for answer in answers)


def work(task: Task) -> int:
    """Make the calls."""
    os.environ[_KEY] = "none"
    return asyncio.run(_all(task))


if __name__ == "__main__":
    perform(work)
