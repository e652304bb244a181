"""What is sent for each row: the messages, or a column that holds them, further turns, and parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from batchrun.chat.request.message_models import AnyMessage, UserMessage
from batchrun.chat.request.parameter_models import Parameters
from batchrun.job.document.interpolate import Unquoted
from batchrun.job.document.place import Loc, WrongPartsError
from batchrun.job.sections.fields import Section, Text, typed


class MessageFile(Section):
    """A file that holds a list of messages, put in here."""

    file: Text
    """A YAML file below the job's folder."""


class Turn(UserMessage):
    """A further message of the user's, sent once the one before is answered."""

    role: Literal["user"] = "user"
    """user"""

    def plain(self) -> dict[str, Any]:
        """The message as it is sent."""
        return {"role": self.role, **super().plain()}


def _message_kind(value: Any) -> str:
    is_file = isinstance(value, MessageFile) or (isinstance(value, dict) and "file" in value)
    return "<MessageFile>" if is_file else "<Message>"


class Prompt(Section):
    """What is sent for each row."""

    vars: dict[str, Any] = Field(default_factory=dict)
    """Constants for the templates."""
    messages: tuple[
        Annotated[
            Annotated[AnyMessage, Tag("<Message>")] | Annotated[MessageFile, Tag("<MessageFile>")],
            Discriminator(_message_kind),
        ],
        ...,
    ] = Field(default=(), min_length=1)
    """The messages, in order."""
    messages_column: Text | None = None
    """The column that holds each row's own list of messages, in place of `messages`."""
    turns: tuple[Turn, ...] = Field(default=(), min_length=1)
    """Further messages of the user's, each sent once the one before is answered; templates see `answer`
    and `answers`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.messages and self.messages_column is not None:
            raise WrongPartsError([(("messages_column",), "excludes prompt.messages: keep one of the two")])
        return self


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
