"""Why rows failed, for people: the most common kinds, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from batchrun.cli.terminal import fact

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
"""What to do about rows that failed, by the type of their error; options are those of `submit`."""

_MOST = 3
"""Kinds that are explained."""

_LONGEST = 300
"""Characters of an example's message."""


def tell_failures(
    console: Console, errors: Mapping[str, int], examples: Mapping[str, tuple[str, str]] | None = None
) -> None:
    """A line for each of the most common error types, one for the others.

    `errors` are the failed rows by type, the most frequent first; `examples` a row's id and message of each.
    """
    for kind, number in list(errors.items())[:_MOST]:
        row_id, message = (examples or {}).get(kind, ("", ""))
        example = f", for example {row_id}: {message[:_LONGEST]}" if row_id else ""
        fact(console, "failed", f"{number:,} {kind}{example}", style="red")
        if remedy := REMEDIES.get(kind):
            fact(console, "", remedy)
    if others := list(errors.items())[_MOST:]:
        fact(console, "", f"and {', '.join(f'{number:,} {kind}' for kind, number in others)}", style="red")
