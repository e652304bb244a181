"""What is sent for each row: messages of the job's own, or a column that holds them, and further turns."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from batchrun.chat.request.message_models import AnyMessage, UserMessage
from batchrun.job.fields import Section, Text
from batchrun.job.place import WrongPartsError


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
