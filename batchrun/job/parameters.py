"""The parameters of a request as a job gives them: the API's, and no name that has another place."""

from __future__ import annotations

from typing import Any, Self

from pydantic import model_validator

from batchrun.chat.request.parameter_models import Parameters
from batchrun.job.fields import typed
from batchrun.job.interpolate import Unquoted
from batchrun.job.place import Loc, WrongPartsError

OTHERWISE_GIVEN: dict[str, str] = {
    "model": "use the job's own key `model`",
    "messages": "use the job's own key `prompt.messages`",
}
"""Names of the API that have another place in a job."""


class Request(Parameters):
    """Parameters sent with every request; text may be a template over the row's columns."""

    @model_validator(mode="before")
    @classmethod
    def _empty_variables(cls, value: Any) -> Any:
        """Read an unquoted variable that is empty as null: the parameter is not sent."""
        if not isinstance(value, dict):
            return value
        return {
            name: None if isinstance(item, Unquoted) and typed(item) is None else item
            for name, item in value.items()
        }

    @model_validator(mode="after")
    def _told_once(self) -> Self:
        wrong: list[tuple[Loc, str]] = []
        for name in self.extra_body or {}:
            if name in OTHERWISE_GIVEN:
                wrong.append((("extra_body", name), f"must not be given: {OTHERWISE_GIVEN[name]}"))
            elif name in type(self).model_fields:
                wrong.append((("extra_body", name), f"has a key of its own: write request.{name}"))
        WrongPartsError.raise_any(wrong)
        return self
