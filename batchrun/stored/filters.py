"""Which stored completions are meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of stored completions is asked for.

    Attributes:
        model: the model that gave them.
        metadata: pairs that each of them must have.
        order: by the time they were made; None leaves it to the server, which lists the oldest first.
        after: the id of the one that the list goes on after.
    """

    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    order: Literal["asc", "desc"] | None = None
    after: str | None = None

    def query(self) -> dict[str, str]:
        """As the parameters of the request, without `after`, which changes from page to page."""
        given = {"model": self.model, "order": self.order}
        pairs = {f"metadata[{key}]": value for key, value in self.metadata.items()}
        return {**{name: value for name, value in given.items() if value is not None}, **pairs}

    def holds_for(self, completion: Mapping[str, Any], *, strictly: bool = False) -> bool:
        """Whether a completion has the metadata that is asked for: a server may pass the filter over.

        One whose metadata is not shown has what the server says that it has, but not `strictly`.
        """
        if not self.metadata or ("metadata" not in completion and not strictly):
            return True
        found = completion.get("metadata")
        return isinstance(found, Mapping) and self.metadata.items() <= found.items()
