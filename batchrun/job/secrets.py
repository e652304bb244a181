"""Finds keys that a job would write down: the run folder keeps a copy of the job file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from batchrun.job.address import NAME_THE_VARIABLE, looks_like_key
from batchrun.job.interpolate import Reference
from batchrun.job.place import Loc, Problem, dotted


def written_keys(value: Any, loc: Loc = ()) -> Iterator[Problem]:
    """Find text with the form of a key, and passwords of proxies, in a job before expansion.

    Prompts may hold such text: a job may be about finding it.
    """
    if loc == ("prompt",):
        return
    if isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for part, member in members:
            yield from written_keys(member, (*loc, part))
    elif isinstance(value, str) and looks_like_key(value):
        yield Problem(
            loc, f"{dotted(loc)} looks like a key, which is never written in a job: {NAME_THE_VARIABLE}."
        )
    elif isinstance(value, str) and loc[-1] == "proxy" and "@" in value and "${" not in value:
        yield Problem(loc, f"{dotted(loc)} must not hold a password: put ${{VARIABLE}} in its place.")


def expanded_keys(references: Iterable[Reference], key_variables: set[str]) -> Iterator[Problem]:
    """Find variables that hold a key, named where their value would be sent or written."""
    for reference in references:
        where = dotted(reference.loc)
        if reference.loc[-1] == "api_key_env":
            yield Problem(reference.loc, f"{where} must be the variable's name by itself, without ${{}}.")
        elif reference.variable in key_variables:
            text = f"must not use {reference.variable}, which holds a key: only api_key_env may name it"
            yield Problem(reference.loc, f"{where} {text}.")
