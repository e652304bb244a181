"""What a command line asks for, as it was read: who wants JSON is told of errors in it, too."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import click


@dataclass(slots=True)
class Asked:
    """A command line.

    Attributes:
        words: as they stand there.
        json: whether JSON is wanted, by an option or a variable; None until the options were read.
    """

    words: Sequence[str]
    json: bool | None = None

    @property
    def wants_json(self) -> bool:
        """Whether it does; of a line that nobody could read, whether it says so anywhere."""
        return "--json" in self.words if self.json is None else self.json

    def look_up(self, error: click.ClickException) -> None:
        """Take what a variable says where the words could not be read as options."""
        context: click.Context | None = getattr(error, "ctx", None)
        if self.json is None and context is not None and "--json" not in self.words:
            with suppress(click.ClickException):
                for parameter in context.command.params:
                    if parameter.callback is remember_json:
                        parameter.handle_parse_result(context, {}, [])


def remember_json(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    """The callback of `--json`."""
    if isinstance(context.obj, Asked):
        context.obj.json = value
    return value
