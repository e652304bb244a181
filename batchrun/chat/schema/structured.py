"""Structured outputs: what is asked of a model by a JSON Schema, and its text read by it.

`AnswerSchema` is the job's `schema`, `ArgumentsReader` the parameters of one tool. Reading goes from
the text as it is to repairs (`json_text`), and the schema decides what counts: a repaired value must fit
it, and several different ones that fit are none. `format` is not asserted (`json_schema` says why).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from batchrun import codec
from batchrun.chat.schema import json_text
from batchrun.chat.schema.absent import Absent
from batchrun.chat.schema.defaults import filler
from batchrun.chat.schema.json_schema import (
    MASK,
    UnsettledError,
    alternatives,
    compiled,
    is_null,
    plain,
    settled,
    values_of,
)
from batchrun.chat.schema.strict import WRAPPED, is_wrapped, strict_schema, wrapped

if TYPE_CHECKING:
    import jsonschema_rs

_NAME = "answer"
"""What the schema is called where it is sent."""

_MOST_SHOWN = 3
_MOST_FITS = 20
_LONGEST_ERROR = 160
_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class Parsed:
    """A value that fits the schema; `repaired` says that its text needed repair."""

    value: Any
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why a text does not fit: at most 500 characters, without a full stop, fit for a model and a person."""

    message: str


@dataclass(frozen=True, slots=True)
class Labels:
    """The only enum of a schema: where its value stands in the answer, and the texts it can be."""

    path: tuple[str, ...]
    values: tuple[str, ...]


Check: TypeAlias = Callable[[Any], Parsed | Invalid]


class AnswerSchema:
    """The schema of a job's answers, prepared once.

    A schema whose root is no object (a list, an enum, a union) is asked for in {"value": …}, which
    strict mode demands and most servers handle best; `read` takes the value out again, and takes the
    bare value as well. Raises SchemaError.

    Attributes:
        schema: the job's own, as a plain value.
        strict: its strict form, or None; `obstacle` then says why there is none.
        labels: the labels it lets the model choose from, if it has exactly one field that is an enum.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = plain(schema)
        self._validator = compiled(self.schema)
        self._wrapped = is_wrapped(self.schema)
        self._asked = wrapped(self.schema) if self._wrapped else self.schema
        self.strict, self.obstacle = strict_schema(self.schema)
        self.labels = _labels(self.schema)
        absent = Absent(self.schema) if self.strict is not None else None
        self._absent = absent or None
        self._filled = filler(self.schema)

    def response_format(self, strict: bool) -> dict[str, Any]:
        """`ResponseFormatJSONSchema` (OpenAI's reference); strict only where the schema has that form."""
        form = self.strict if strict else None
        described = {
            "name": _NAME,
            "schema": self._asked if form is None else form,
            "strict": form is not None,
        }
        return {"type": "json_schema", "json_schema": described}

    def read(self, text: str) -> Parsed | Invalid:
        """The value in `text` that fits the schema, or why there is none. Never raises.

        Members that it leaves out have the schema's `default`, where there is one.
        """
        read = _read(text, self._check)
        if self._filled is None or isinstance(read, Invalid):
            return read
        return Parsed(self._filled(read.value), read.repaired)

    def _check(self, value: Any) -> Parsed | Invalid:
        """Nulls that strict mode asks for in place of absent members are taken out, if that makes it fit."""
        if self._wrapped and isinstance(value, dict) and value.keys() == {WRAPPED}:
            inside = self._check_bare(value[WRAPPED])
            if isinstance(inside, Parsed) or not self._validator.is_valid(value):
                return inside
        return self._check_bare(value)

    def _check_bare(self, value: Any) -> Parsed | Invalid:
        if self._validator.is_valid(value):
            return Parsed(value)
        if self._absent is not None:
            restored = self._absent.removed(value)
            if self._validator.is_valid(restored):
                return Parsed(restored)
        return Invalid(_complaint(self._validator.iter_errors(value)))


class ArgumentsReader:
    """Reads the arguments of a tool's calls; no text at all counts as {}. Raises SchemaError."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._validator = compiled(plain(parameters))

    def read(self, text: str) -> Parsed | Invalid:
        """As `AnswerSchema.read`; arguments are an object whatever the schema says."""
        return _read(text if text.strip() else "{}", self._check)

    def _check(self, value: Any) -> Parsed | Invalid:
        if not isinstance(value, dict):
            return Invalid(f'$: {_shown(value)} is not of type "object"')
        if self._validator.is_valid(value):
            return Parsed(value)
        return Invalid(_complaint(self._validator.iter_errors(value)))


def _read(text: str, check: Check) -> Parsed | Invalid:
    try:
        try:
            value, repaired = json_text.parse(text)
        except json_text.NotJsonError as error:
            return _repaired(text, check, str(error))
        read = check(value)
        return Parsed(read.value, repaired) if isinstance(read, Parsed) else read
    except (RecursionError, ValueError):  # jsonschema_rs, too, has a limit
        return Invalid("the JSON is nested too deeply")


def _repaired(text: str, check: Check, problem: str) -> Parsed | Invalid:
    """The one value in `text` that fits; else what is wrong with the last one, or with the text."""
    fits: list[Any] = []
    wrong: Invalid | None = None
    try:
        for value in json_text.candidates(text):
            read = check(value)
            if isinstance(read, Invalid):
                wrong = read
            elif read.value not in fits:
                fits.append(read.value)
                if len(fits) > _MOST_FITS:
                    break
    except json_text.NotJsonError as error:
        wrong = wrong or Invalid(str(error))
    if len(fits) == 1:
        return Parsed(fits[0], repaired=True)
    if fits:
        many = f"{len(fits)}" if len(fits) <= _MOST_FITS else f"more than {_MOST_FITS}"
        return Invalid(f"the text holds {many} different JSON values that fit; give one")
    return wrong or Invalid(problem)


def _complaint(errors: Iterable[jsonschema_rs.ValidationError]) -> str:
    """The first errors, each with its JSON path; a union gives those of the branch that was meant."""
    said: list[str] = []
    for error in errors:
        said += _said(error)
        if len(said) > _MOST_SHOWN:
            break
    shown = list(dict.fromkeys(said))[:_MOST_SHOWN]
    return "; ".join(shown)


def _said(error: jsonschema_rs.ValidationError) -> list[str]:
    kind = error.kind
    if not isinstance(kind, kind.AnyOf | kind.OneOfNotValid):
        return [_sentence(error, _reason(error))]
    meant = [branch for branch in kind.context if branch and not _wrong_kind(branch[0], error)]
    if len(meant) == 1:
        return [sentence for inner in meant[0] for sentence in _said(inner)]
    reasons = dict.fromkeys(_reason(branch[0]) for branch in kind.context if branch)
    return [_sentence(error, f"{_shown(error.instance)} fits no alternative: {' / '.join(reasons)}")]


def _wrong_kind(inner: jsonschema_rs.ValidationError, outer: jsonschema_rs.ValidationError) -> bool:
    return inner.kind.name in ("type", "const", "enum") and inner.instance_path == outer.instance_path


def _sentence(error: jsonschema_rs.ValidationError, reason: str) -> str:
    sentence = f"{_json_path(error.instance_path)}: {reason}"
    return sentence if len(sentence) <= _LONGEST_ERROR else sentence[: _LONGEST_ERROR - 1] + "…"


def _reason(error: jsonschema_rs.ValidationError) -> str:
    return error.message.replace(MASK, _shown(error.instance))


def _shown(value: Any) -> str:
    """A value as a message can carry it."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = codec.dumps(value).decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _json_path(path: Iterable[str | int]) -> str:
    """A place in a value as JSONPath (RFC 9535) spells it: `$.items[2].price`."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part}" if part.isidentifier() else f"[{part!r}]"
        for part in path
    )
    return "$" + "".join(parts)


def _labels(schema: Mapping[str, Any]) -> Labels | None:
    if values := _enum_texts(schema, schema):
        return Labels((WRAPPED,), values)
    try:
        root, _ = settled(schema, schema)
    except UnsettledError:
        return None
    properties = root.get("properties")
    if not isinstance(properties, Mapping) or is_wrapped(schema):
        return None
    found = [
        Labels((name,), values) for name, item in properties.items() if (values := _enum_texts(item, schema))
    ]
    return found[0] if len(found) == 1 else None


def _enum_texts(schema: Any, root: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts an enum, a union of constants, or a nullable one of them can be; () for anything else."""
    try:
        schema, _ = settled(schema, root)
        values = values_of(schema)
        if values is None:
            branches = [branch for branch in alternatives(schema) or () if not is_null(branch)]
            listed = [values_of(settled(branch, root)[0]) for branch in branches]
            values = [] if None in listed else [value for each in listed for value in each or ()]
    except UnsettledError:
        return ()
    texts = tuple(dict.fromkeys(values)) if all(isinstance(v, str) for v in values) else ()
    return texts if len(texts) > 1 else ()
