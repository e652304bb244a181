"""Templates prepared once and evaluated per row, by minijinja.

Strict: a name the row does not have is an error, no Python attribute can be reached, and an
endless loop runs out of fuel. Nothing is HTML-escaped. Null and NaN print as nothing, and a
float that is a whole number prints without its `.0`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import minijinja

FUEL = 1_000_000
"""Instructions that one evaluation may take before it is stopped as endless."""

Context: TypeAlias = Mapping[str, Any]
Prepared: TypeAlias = Callable[[Context], Any]
"""A template made ready: called with the names it may use, it gives the value for one row."""

_MARKUP = re.compile(r"\{[{%#]")
_EXPRESSION = re.compile(r"\{\{-?((?:(?!\}\}|\{\{|\{%).)+?)-?\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INCLUDE = re.compile(r"\{%-?\s*include\s+(['\"])([^'\"]+)\1\s*-?%\}")


class TemplateError(ValueError):
    """A template that cannot be read, or that cannot be evaluated for a row.

    `line` is the line within the template's own text, from 1, where it is known.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def has_markup(value: Any) -> bool:
    """Whether a value of any shape holds a string that is a template."""
    if isinstance(value, Mapping):
        return any(has_markup(item) for item in value.values())
    if isinstance(value, list):
        return any(has_markup(item) for item in value)
    return isinstance(value, str) and _MARKUP.search(value) is not None


class Templates:
    """The templates of one job.

    `folder` is the only folder that `{% include %}` may read from; `included` holds the text
    of every file read so far. `null_printed` is set when a null or NaN prints as nothing, for
    the caller to read and clear.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.included: dict[str, str] = {}
        self.null_printed = False
        self._prepared = 0
        self._environment = minijinja.Environment(
            loader=self._read,
            undefined_behavior="strict",
            auto_escape_callback=lambda _name: False,
            finalizer=self._print,
            keep_trailing_newline=True,
            fuel=FUEL,
            debug=True,  # only so does an error say which name is undefined
        )

    def text(self, source: str) -> Callable[[Context], str]:
        """Prepare a template that gives text. Raises TemplateError when it cannot be read."""
        if not has_markup(source):
            return lambda _context: source
        self._prepared += 1
        name = f"<template {self._prepared}>"
        try:
            self._environment.add_template(name, source)
        except minijinja.TemplateError as error:
            raise _ours(error) from error
        self._check_includes(source)
        render = self._environment.render_template

        def evaluate(context: Context) -> str:
            try:
                return render(name, **_printable(context))
            except minijinja.TemplateError as error:
                raise _ours(error) from error

        return evaluate

    def value(self, source: Any) -> Prepared:
        """Prepare a value of any shape whose strings may be templates.

        A string that is one expression keeps that expression's type, and one that is just
        `{{ column }}` the column's exact value. Any other string with markup gives text.
        """
        if not has_markup(source):
            return lambda _context: source
        if isinstance(source, Mapping):
            members = {str(key): self.value(item) for key, item in source.items()}
            return lambda context: {key: item(context) for key, item in members.items()}
        if isinstance(source, list):
            items = [self.value(item) for item in source]
            return lambda context: [item(context) for item in items]
        expression = _EXPRESSION.fullmatch(source.strip())
        if expression is None:
            return self.text(source)
        if _NAME.fullmatch(expression[1].strip()):
            return _column(expression[1].strip())
        return self._expression(expression[1].strip())

    def _expression(self, expression: str) -> Prepared:
        as_text = self.text(f"{{{{ {expression} }}}}")
        evaluate = self._environment.eval_expr

        def value(context: Context) -> Any:
            try:
                result = evaluate(expression, **context)
            except minijinja.TemplateError as error:
                raise _ours(error) from error
            if result is None:  # also what minijinja gives for an undefined name: as text it is an error
                as_text(context)
            return result

        return value

    def _print(self, value: Any) -> Any:
        if value is None or value != value:
            self.null_printed = True
            return ""
        return repr(value) if type(value) is float else value

    def _read(self, name: str) -> str | None:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder) or not path.is_file():
            return None
        self.included[name] = path.read_text(encoding="utf-8")
        return self.included[name]

    def _check_includes(self, source: str) -> None:
        """Read what is included by a literal name now, so that a missing file is no row's error."""
        for match in _INCLUDE.finditer(source):
            if self._read(match[2]) is None:
                line = source.count("\n", 0, match.start()) + 1
                raise TemplateError(
                    f"cannot include {match[2]!r}: no such file below the job's folder {self.folder}", line
                )
            self._check_includes(self.included[match[2]])


def inline_includes(source: str, files: Mapping[str, str]) -> str:
    """Replace each `{% include 'name' %}` whose file is in `files` by that file's text."""

    def text(match: re.Match[str]) -> str:
        return inline_includes(files[match[2]], files) if match[2] in files else match[0]

    return _INCLUDE.sub(text, source)


def _column(name: str) -> Prepared:
    def value(context: Context) -> Any:
        try:
            return context[name]
        except KeyError:
            raise TemplateError(f"`{name}` is undefined: the row has no such column") from None

    return value


def _printable(context: Context) -> Context:
    """Decimals as text: minijinja would print them by way of a float, which can change them."""
    if any(type(value) is Decimal for value in context.values()):
        return {key: str(value) if type(value) is Decimal else value for key, value in context.items()}
    return context


def _ours(error: minijinja.TemplateError) -> TemplateError:
    return TemplateError(error.detail or error.message, error.line)
