"""Why rows failed, for people: the most common kinds, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from batchrun.cli.remedies import REMEDIES
from batchrun.cli.terminal import fact

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
