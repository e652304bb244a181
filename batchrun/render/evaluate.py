"""Evaluating a row's templates: what goes wrong is that row's failure, or the job's mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batchrun.errors import JobError
from batchrun.media import MediaError
from batchrun.outcome import Error
from batchrun.template.template import Context, Prepared, TemplateError

_PYTHON_ERRORS = (AttributeError, TypeError, ValueError, LookupError, ArithmeticError, MemoryError)
"""What methods of a row's values raise, for example a date's `strftime`."""

_TEMPLATE = "Put the template right; text that is no template goes between {% raw %} and {% endraw %}."


class RenderError(ValueError):
    """A row that cannot become a request; `error` is the row's failure."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


def unfit(message: str) -> RenderError:
    """The failure of a row whose request would be wrong."""
    return RenderError(Error("render", message))


def no_json(error: TypeError) -> RenderError:
    """The failure of a row with a value that JSON has no form for: a decimal, bytes."""
    return unfit(f"request: {error}; write it as text in the template")


@contextmanager
def at(place: str, source: Any) -> Iterator[None]:
    """Say where in the job a template stands that cannot be read."""
    try:
        yield
    except TemplateError as error:
        line = f" (line {error.line} of the template)" if error.line and "\n" in str(source) else ""
        raise JobError(f"{place}: {error}{line}", hint=_TEMPLATE) from error


def evaluated(name: str, prepared: Prepared, context: Context) -> Any:
    """The value of a template for a row. Raises RenderError, with `name` in it."""
    try:
        return prepared(context)
    except MediaError as error:
        raise RenderError(Error("media", f"{name}: {error}")) from error
    except TemplateError as error:
        line = f" (line {error.line})" if error.line and error.line > 1 else ""
        raise unfit(f"{name}: {error}{line}") from error
    except _PYTHON_ERRORS as error:
        raise unfit(f"{name}: {type(error).__name__}: {error}") from error
