"""What click says of a wrong command line, as an error of ours: what is wrong, and what to write."""

from __future__ import annotations

import click

from batchrun.errors import UsageError


def mistake(error: click.ClickException) -> UsageError:
    """The error to show for one of click's."""
    message = error.format_message().rstrip(".")
    return UsageError(f"{message[:1].lower()}{message[1:]}", hint=_hint(error))


def _hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None) or click.Context(click.Command("batchrun"), info_name="batchrun")
    more = f"`{context.command_path} --help`"
    if isinstance(context.command, click.Group):
        return f"{more} lists the commands."
    if isinstance(error, click.NoSuchOption):
        return f"{more} lists the options."
    if isinstance(error, click.MissingParameter):
        return f"Write `{_usage(context)}`; {more} has examples."
    if isinstance(error, click.BadParameter):
        return f"{_wanted(error.param)}{more} says what it takes."
    if isinstance(error, click.BadOptionUsage):
        return f"Write its value after it: {error.option_name} VALUE"
    return f"Write `{_usage(context)}`{_after_equals_sign(context.command)}; {more} has examples."


def _usage(context: click.Context) -> str:
    pieces = [piece for piece in context.command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    return " ".join([context.command_path, *pieces])


def _wanted(parameter: click.Parameter | None) -> str:
    kind = parameter.type if parameter else None
    if not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return ""
    number = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    lowest, highest = getattr(kind, "min", None), getattr(kind, "max", None)
    if highest is not None:
        return f"Give {number} from {lowest} to {highest}; "
    return f"Give {number}{'' if lowest is None else f' of at least {lowest}'}; "


def _after_equals_sign(command: click.Command) -> str:
    """How to give a value to options that may go without."""
    from batchrun.cli.options import TYPES

    for option in command.params:
        if option.metavar == TYPES:
            return f", and types of errors with an equals sign: {option.opts[0]}=TYPE"
    return ""
