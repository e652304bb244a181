"""What to do about rows that failed, by the type of their error."""

from __future__ import annotations

from collections.abc import Mapping

REMEDIES: Mapping[str, str] = {
    "bad_row": "correct these lines of the input, then submit again",
    "render": "correct the row or the template, then submit again",
    "media": "put the file where the row says, then submit again",
    "invalid_request": "correct the row or change --model: --retry-failed=invalid_request",
    "context_length": "shorten the row or change --model: --retry-failed=context_length",
    "content_filter": "change the row or --model: --retry-failed=content_filter",
    "refusal": "ask again or change --model: --retry-failed=refusal",
    "auth": "set the right key (api_key_env), then submit again",
    "model_not_found": "correct the model's name, then submit again",
    "quota": "add credit at the provider, then submit again",
    "rate_limit": "lower limits.rpm, tpm or concurrency, then submit again",
    "server": "submit again later: the endpoint failed",
    "connection": "check base_url and the network, then submit again",
    "timeout": "lower limits.concurrency or raise retry.timeout, submit again",
    "invalid_response": "check base_url and the model, then --retry-failed=invalid_response",
    "invalid_output": "raise retry.reask or change --model: --retry-failed=invalid_output",
    "truncated": "raise request.max_completion_tokens, then submit --keep-changed",
    "cancelled": "submit again",
}
"""Each an instruction; options are those of `submit`."""
