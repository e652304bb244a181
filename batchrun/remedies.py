"""What to do about rows that failed, by the type of their error."""

from __future__ import annotations

from collections.abc import Mapping

_ELSEWHERE = "--retry-failed={} --model ENDPOINT/MODEL"

REMEDIES: Mapping[str, str] = {
    "bad_row": "correct these lines of the input, then submit again",
    "render": "correct the row or the template, then submit again",
    "media": "put the file where the row says, then submit again",
    "invalid_request": f"change the row, or ask another model: {_ELSEWHERE.format('invalid_request')}",
    "context_length": f"shorten the row, or ask one with more room: {_ELSEWHERE.format('context_length')}",
    "content_filter": f"change the row, or ask another model: {_ELSEWHERE.format('content_filter')}",
    "refusal": f"ask again, or another model: {_ELSEWHERE.format('refusal')}",
    "auth": "set the right key in the endpoint's api_key_env, then submit again",
    "model_not_found": "correct the model's name, then submit again",
    "quota": "add credit at the provider, then submit again",
    "rate_limit": "lower limits.rpm, limits.tpm or limits.concurrency, then submit again",
    "server": "submit again later: the endpoint failed",
    "connection": "check base_url and the network, then submit again",
    "timeout": "lower limits.concurrency or raise retry.timeout, then submit again",
    "invalid_response": "check that base_url serves Chat Completions, then --retry-failed=invalid_response",
    "invalid_output": f"raise retry.reask, or ask another model: {_ELSEWHERE.format('invalid_output')}",
    "truncated": "raise request.max_completion_tokens, then submit --keep-changed",
    "cancelled": "submit again",
}
"""Each an instruction; options are those of `submit`."""
