"""The base of what the API's mappings are written with: strict in a job, free to be a template.

A job is checked strictly: an unknown member is an error, and what an endpoint adds goes into
`extra_body`. Any value may be a template until the row is rendered. Two things of the validation's
context change how a value is read: `rendered` refuses templates, and `typed` and `free` read what
a variable of the job held.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    Tag,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from batchrun.template.source import has_markup

_T = TypeVar("_T")

RENDERED: Mapping[str, Any] = {"rendered": True}
"""The context in which text with markup is just text."""


class Members(BaseModel):
    """A mapping whose members are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, protected_namespaces=())

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON Schema, with the text below each field as its description."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for name, text in descriptions(cls).items():
            properties[member_name(cls, name)]["description"] = text
        return schema

    def plain(self) -> dict[str, Any]:
        """The mapping as it is sent: what was given, under the API's names, with `extra_body` merged in."""
        kind, given = type(self), self.model_fields_set - {"extra_body"}
        names = [name for name in kind.model_fields if name in given]
        document = {member_name(kind, name): plain(getattr(self, name)) for name in names}
        return document | dict(getattr(self, "extra_body", None) or {})


@cache
def descriptions(model: type[Members]) -> dict[str, str]:
    """The text below each field, by the field's name.

    pydantic reads it too, but while each class is made, which every command would wait for.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Members):
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
            found |= _described(body.body if isinstance(body, ast.ClassDef) else [])
    return {name: found[name] for name in model.model_fields if name in found}


def _described(body: list[ast.stmt]) -> dict[str, str]:
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def member_name(model: type[BaseModel], field: str) -> str:
    """What a field is called in the mapping: `schema` and `json` cannot be attributes."""
    return model.model_fields[field].alias or field


def _context(info: ValidationInfo, name: str) -> Any:
    return info.context.get(name) if isinstance(info.context, Mapping) else None


def _is_template(value: Any, info: ValidationInfo) -> bool:
    return isinstance(value, str) and not _context(info, "rendered") and has_markup(value)


def _or_template(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    return str(value) if _is_template(value, info) else handler(value)


def _scalar(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Check a number or a boolean and keep it as it is spelled: 0 is not sent as 0.0."""
    if _is_template(value, info):
        return str(value)
    typed: Callable[[Any], Any] | None = _context(info, "typed")
    value = typed(value) if typed else value
    handler(value)
    return value


def _free(value: Any, info: ValidationInfo) -> Any:
    free: Callable[[Any], Any] | None = _context(info, "free")
    return free(value) if free else value


_TEMPLATE: Mapping[str, Any] = {"type": "string", "pattern": r"\{[{%#]"}
"""A string with markup, in a JSON Schema."""


class _OrText:
    """Adds a template to the JSON Schema of a value."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(core_schema)
        if inner == {"type": "string"}:
            return inner
        return {"anyOf": [*(inner["anyOf"] if inner.keys() == {"anyOf"} else [inner]), dict(_TEMPLATE)]}


Templated: TypeAlias = Annotated[_T, WrapValidator(_or_template), _OrText()]
"""A value of that type, or a template that gives one."""
_Scalar: TypeAlias = Annotated[_T, WrapValidator(_scalar), _OrText()]

Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag: TypeAlias = _Scalar[Annotated[bool, Strict()]]
AnyNumber: TypeAlias = _Scalar[Number]
Positive: TypeAlias = _Scalar[Annotated[Number, Field(gt=0)]]
Share: TypeAlias = _Scalar[Annotated[Number, Field(ge=0, le=1)]]
Penalty: TypeAlias = _Scalar[Annotated[Number, Field(ge=-2, le=2)]]
Temperature: TypeAlias = _Scalar[Annotated[Number, Field(ge=0, le=2)]]
Bias: TypeAlias = _Scalar[Annotated[Number, Field(ge=-100, le=100)]]

_WholeNumber: TypeAlias = Annotated[int, Strict()]
Whole: TypeAlias = _Scalar[_WholeNumber]
Int64: TypeAlias = _Scalar[Annotated[_WholeNumber, Field(ge=-(2**63), le=2**63 - 1)]]
FromZero: TypeAlias = _Scalar[Annotated[_WholeNumber, Field(ge=0)]]
FromOne: TypeAlias = _Scalar[Annotated[_WholeNumber, Field(ge=1)]]
FromMinusOne: TypeAlias = _Scalar[Annotated[_WholeNumber, Field(ge=-1)]]
UpTo20: TypeAlias = _Scalar[Annotated[_WholeNumber, Field(ge=0, le=20)]]
UpTo128: TypeAlias = _Scalar[Annotated[_WholeNumber, Field(ge=1, le=128)]]

Text: TypeAlias = Templated[str]
Name: TypeAlias = Templated[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]]
"""OpenAI: letters, digits, underscores and dashes, at most 64."""

Free: TypeAlias = Annotated[Any, BeforeValidator(_free)]
"""Any JSON value."""
FreeMapping: TypeAlias = Templated[dict[str, Free]]


def kinds(union: Any, key: str) -> dict[str, type[Members]]:
    """The members of a union of mappings, by the word that each of them has for `key`."""
    union = get_args(union)[0] if get_origin(union) is Annotated else union
    models = get_args(union) or (union,)
    return {get_args(model.model_fields[key].annotation)[0]: model for model in models}


class KindOf:
    """Tells the members of a union of mappings apart by their member `key`; tags are `<Class>`."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        key, models = self._key, kinds(source, self._key)
        tags = {word: f"<{model.__name__}>" for word, model in models.items()}

        def tag(value: Any) -> str | None:
            word = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
            return tags.get(word) if isinstance(word, str) else None

        known: dict[str, Any] = {"key": key, "allowed": list(tags)}
        union: Any = Union[tuple(Annotated[model, Tag(tags[word])] for word, model in models.items())]  # noqa: UP007
        by_kind = Discriminator(
            tag,
            custom_error_type="unknown_kind",
            custom_error_message=f"needs a `{key}`: {', '.join(tags)}",
            custom_error_context=known,
        )
        return handler.generate_schema(Annotated[union, by_kind])


def _list_or_text(value: Any) -> str:
    return "<list>" if isinstance(value, list | tuple) else "<text>"


def _mapping_or_text(value: Any) -> str:
    return "<mapping>" if isinstance(value, dict | Members) else "<text>"


LIST_OR_TEXT, MAPPING_OR_TEXT = Discriminator(_list_or_text), Discriminator(_mapping_or_text)
"""Tell the members of a union apart by their tags `<list>`, `<mapping>` and `<text>`."""


def plain(value: Any) -> Any:
    """A value with every mapping in it as it is sent."""
    if isinstance(value, Members):
        return value.plain()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value
