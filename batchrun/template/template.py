"""Templates prepared once and evaluated per row, by minijinja.

Strict: a name the row does not have is an error, no value of the row can be changed, and an
endless loop runs out of fuel. Nothing is HTML-escaped, by `tojson` neither. Null and NaN print as
nothing, a float that is a whole number without its `.0`, and bytes not at all. `row["some name"]`
reaches a column whose name is no identifier.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import minijinja

from batchrun import codec
from batchrun.template.bounds import BoundedFilters, UnboundedError, check_argument, check_syntax, check_text
from batchrun.template.source import (
    LITERALS,
    has_markup,
    included_names,
    inline_includes,
    joined,
    loads_others,
    words,
)
from batchrun.template.values import plain, seen, to_print, to_read

FUEL = 1_000_000
"""Instructions that one evaluation may take before it is stopped as endless."""

Context: TypeAlias = Mapping[str, Any]
Prepared: TypeAlias = Callable[[Context], Any]
"""A template made ready: called with the names it may use, it gives the value for one row."""

MAX_INCLUDED = 4_000_000
"""Bytes of the largest file that a template may include."""

_EXPRESSION = re.compile(r"\{\{-?((?:(?!\}\}|\{\{|\{%).)+?)-?\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ROW = re.compile(r"\brow\s*\[")
_ROW_COLUMN = re.compile(r"""row\s*\[\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*\]""")
_DEBUG = re.compile(r"\bdebug\s*\(")
"""What prints all that a template may see."""
_CAUSE = re.compile(r"^caused by: (?:[a-z ]+: )?(.*)$", re.MULTILINE)
_OWN_PLACE = re.compile(r" \(in <[^>]*>:\d+\)$")


class TemplateError(ValueError):
    """A template that cannot be read, or that cannot be evaluated for a row.

    `line` is the line within the template's own text, from 1, where it is known.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Templates:
    """The templates of one job.

    `folder` is the only folder that `{% include %}` may read from; `included` holds the text
    of every file read so far. `filters` are filters by name; what they raise passes through an
    evaluation unchanged.
    `null_printed` is set when a null or NaN prints as nothing, for the caller to read and clear.
    """

    def __init__(self, folder: Path, **filters: Callable[[Any], str]) -> None:
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
        self._environment.add_filter("tojson", _json)
        BoundedFilters().add_to(self._environment)
        for name, function in filters.items():
            self._environment.add_filter(name, function)

    def text(self, source: str) -> Callable[[Context], str]:
        """Prepare a template that gives text. Raises TemplateError when it cannot be read."""
        if not has_markup(source):
            return lambda _context: source
        try:
            check_syntax(source)
        except UnboundedError as error:
            raise TemplateError(str(error), error.line) from error
        self._prepared += 1
        name = f"<template {self._prepared}>"
        try:
            self._environment.add_template(name, source)
        except minijinja.TemplateError as error:
            raise _ours(error) from error
        self._check_includes(source)
        render = self._environment.render_template
        names_row, named, join = self._names_row(source), words(source, self.included), joined(source)

        def evaluate(context: Context) -> str:
            try:
                if join is not None and (text := join(context)) is not None:
                    return check_text(text)
                values = seen(context, named, to_print)
                return check_text(render(name, **(_with_row(values) if names_row else values)))
            except (minijinja.TemplateError, UnboundedError) as error:
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
        name = expression[1].strip()
        if _NAME.fullmatch(name) and name not in LITERALS:
            return _column(name)
        if column := _ROW_COLUMN.fullmatch(name):
            return _column_of_row(column[1] if column[2] is None else column[2], self._expression(name))
        return self._expression(name)

    def names(self, source: str) -> set[str]:
        """The names that a template and the files it includes read: columns, vars, functions.

        `row["name"]` counts where the name is spelled out.
        """
        found = set(self._environment.undeclared_variables_in_str(source))
        found |= {one or other for one, other in _ROW_COLUMN.findall(source)}
        for name, _line in included_names(source):
            found |= self.names(self.included.get(name, ""))
        return found

    def reads(self, source: str) -> set[str] | None:
        """What `names` gives for a template that reads no column but those; None where it may read others."""
        whole = inline_includes(source, self.included)
        if loads_others(whole) or _DEBUG.search(whole):
            return None
        if "row" in self._environment.undeclared_variables_in_str(_ROW_COLUMN.sub("''", whole)):
            return None
        return self.names(whole)

    def _expression(self, expression: str) -> Prepared:
        as_text = self.text(f"{{{{ {expression} }}}}")
        evaluate = self._environment.eval_expr
        names_row, named = self._names_row(expression), words(expression, {})

        def value(context: Context) -> Any:
            values = seen(context, named, to_read)
            if names_row:
                values = _with_row(values)
            if "self" in values:  # cannot be passed on: it is the method's own argument
                values = {name: item for name, item in values.items() if name != "self"}
            try:
                result = plain(evaluate(expression, **values))
                if type(result) is str:
                    check_text(result)
            except (minijinja.TemplateError, UnboundedError) as error:
                raise _ours(error) from error
            if result is None:  # also what minijinja gives for an undefined name: as text it is an error
                printed = self.null_printed
                as_text(context)
                self.null_printed = printed  # a null value is left out of the request, not printed
            return result

        return value

    def _names_row(self, source: str) -> bool:
        if _ROW.search(source):
            return True
        names = (name for name, _line in included_names(source))
        return any(self._names_row(self.included[name]) for name in names if name in self.included)

    def _print(self, value: Any) -> Any:
        if isinstance(value, bytes):
            raise TemplateError(f"{len(value):,} bytes have no text: use data_url or base64")
        if value is None or value != value:
            self.null_printed = True
            return ""
        return repr(value) if type(value) is float else value

    def _read(self, name: str) -> str | None:
        try:
            path = (self.folder / name).resolve()
            if not path.is_relative_to(self.folder) or not path.is_file():
                return None
            with path.open("rb") as file:
                data = file.read(MAX_INCLUDED + 1)
            if len(data) > MAX_INCLUDED:
                raise TemplateError(f"cannot include {name!r}: it is larger than {MAX_INCLUDED:,} bytes")
            text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8").read()
            check_syntax(text)
        except TemplateError:
            raise
        except UnboundedError as error:
            raise TemplateError(f"cannot include {name!r}: {error} (line {error.line})") from None
        except UnicodeDecodeError:
            raise TemplateError(f"cannot include {name!r}: it is not UTF-8 text") from None
        except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte; RuntimeError: a loop
            raise TemplateError(f"cannot include {name!r}: {error}") from error
        self.included[name] = text
        return text

    def _check_includes(self, source: str, within: tuple[str, ...] = ()) -> None:
        """Read what is included by a literal name now, so that a missing file is no row's error."""
        for name, line in included_names(source):
            if name in within:
                raise TemplateError(f"cannot include {name!r}: it includes itself", line)
            if self._read(name) is None:
                raise TemplateError(
                    f"cannot include {name!r}: no such file below the job's folder {self.folder}", line
                )
            self._check_includes(self.included[name], (*within, name))


def _column(name: str) -> Prepared:
    def value(context: Context) -> Any:
        try:
            return context[name]
        except KeyError:
            raise TemplateError(f"`{name}` is undefined: the row has no such column") from None

    return value


def _column_of_row(name: str, otherwise: Prepared) -> Prepared:
    """A column by `row["name"]`, exactly; `otherwise` where there is none, or a column is called row."""

    def value(context: Context) -> Any:
        return context[name] if name in context and "row" not in context else otherwise(context)

    return value


def _with_row(values: dict[str, Any]) -> dict[str, Any]:
    return values if "row" in values else {**values, "row": to_read(values)}


def _json(value: Any, indent: int | None = None) -> str:
    """JSON text; unlike the built-in filter it leaves `<`, `>`, `&` and `'` as they are."""
    check_argument("tojson", indent)
    try:
        text = codec.dumps(plain(to_print(value))).decode()
        return text if indent is None else json.dumps(json.loads(text), indent=indent, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise TemplateError(f"tojson: {error}") from error


def _ours(error: minijinja.TemplateError | UnboundedError) -> TemplateError:
    """The error at its root; one within an included file names that file."""
    if isinstance(error, UnboundedError):
        return TemplateError(str(error), error.line)
    if causes := _CAUSE.findall(str(error)):
        return TemplateError(causes[-1])
    text = error.detail or _OWN_PLACE.sub("", error.message)
    if error.name and not error.name.startswith("<"):
        return TemplateError(f"{text} (in {error.name}:{error.line})")
    return TemplateError(text, error.line)
