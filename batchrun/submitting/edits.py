"""Which keys of a job an edit has changed, of those that change what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from batchrun.render.renderer import NOT_HASHED

FORM = frozenset({"schema", "request.response_format", "model.request.response_format"})
"""Keys that say in which form an answer is wanted, and nothing of what it is about."""


def edited(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys, such as `prompt.turns`, that two jobs (see `job.snapshot.read_snapshot`) have otherwise.

    Keys that may change at no cost are not among them, nor is what lies outside the job.
    """
    left, right = _asked(before), _asked(now)
    return [name for name in {**left, **right} if _differ(left.get(name), right.get(name))]


def is_of_form(names: Iterable[str]) -> bool:
    """Whether an edit changes in which form answers are wanted, and nothing else that is asked."""
    return bool(names) and FORM.issuperset(names)


def _asked(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a job asks, by dotted keys."""
    model = document.get("model")
    spelled = model if isinstance(model, dict) else {"model": model}
    return {
        **_members("prompt", document.get("prompt")),
        "schema": document.get("schema"),
        **_members("request", document.get("request")),
        "model": spelled.get("model"),
        **_members("model.request", spelled.get("request")),
        **_members("run_tools", document.get("run_tools")),
    }


def _members(section: str, value: Any) -> dict[str, Any]:
    members = value if isinstance(value, dict) else {}
    skipped = NOT_HASHED if section.endswith("request") else ()
    return {f"{section}.{key}": item for key, item in members.items() if key not in skipped}


def _differ(one: Any, other: Any) -> bool:
    """In a schema the order of members counts, and 1 is not 1.0."""
    return repr(one) != repr(other)
