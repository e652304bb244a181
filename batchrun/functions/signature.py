"""A function's signature as a pydantic model of its arguments, and as a tool definition.

The definition is `ChatCompletionFunctionTool` of OpenAI's reference: name, description, and the
parameters as JSON Schema.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Annotated, Any, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, PydanticJsonSchemaWarning

from batchrun.functions.docstring import read_docstring
from batchrun.functions.result import ordered

_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class SignatureError(ValueError):
    """A function that cannot be a tool as it is written; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """The model of a function's arguments, its fields in the order of the parameters.

    A field has a name of its own and the parameter's as its alias: a parameter may be called `schema`
    or `_id`, a field may not. Raises SignatureError.
    """
    hints = _hints(function)
    described = read_docstring(inspect.getdoc(function)).parameters
    fields: dict[str, Any] = {}
    for at, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind not in _BY_NAME:
            raise SignatureError(
                f"the parameter `{parameter}` cannot be given by its name",
                "Write each parameter by itself: without *args, **kwargs and `/`.",
            )
        if parameter.name not in hints:
            raise SignatureError(
                f"the parameter `{parameter.name}` has no type hint",
                f"Give it one, for example {parameter.name}: str",
            )
        hint = _named(hints[parameter.name], parameter.name, described.get(parameter.name))
        default = ... if parameter.default is Parameter.empty else parameter.default
        fields[f"{FIELD}{at}"] = (hint, default)
    try:
        return create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError) as error:
        raise _no_schema(error) from error


FIELD = "argument_"
"""What the names of the model's fields begin with."""


def arguments(function: Callable[..., Any], values: BaseModel) -> dict[str, Any]:
    """Keyword arguments for a call of the function, defaults included."""
    names = inspect.signature(function).parameters
    return {name: getattr(values, f"{FIELD}{at}") for at, name in enumerate(names)}


def definition(name: str, function: Callable[..., Any], model: type[BaseModel]) -> dict[str, Any]:
    """The tool as the API takes it. Raises SignatureError for a hint that JSON Schema has no form for."""
    try:
        with warnings.catch_warnings():  # a default without a JSON form is left out of the schema
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
            parameters = model.model_json_schema(schema_generator=_Schema)
    except PydanticUserError as error:
        raise _no_schema(error) from error
    del parameters["title"]
    description = read_docstring(inspect.getdoc(function)).description
    described = {"name": name, "description": description} if description else {"name": name}
    return {"type": "function", "function": {**described, "parameters": parameters}}


class _Schema(GenerateJsonSchema):
    """pydantic's schema without titles that repeat names, and with sets in a fixed order.

    The tools are part of the request hash: they must not differ from process to process.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(ordered(dft))


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(inspect.unwrap(function), include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:  # a hint written as text
        raise SignatureError(
            f"a type hint cannot be read: {error}", "Import or define what the hint names."
        ) from error


def _named(hint: Any, name: str, described: str | None) -> Any:
    """The hint with the parameter's name and its description.

    The first text in `Annotated` goes before the docstring's; a `Field` of the user's before both.
    """
    base, metadata = (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())
    text = next((item for item in metadata if isinstance(item, str)), described)
    return Annotated[base, Field(alias=name, description=text), *metadata]


def _no_schema(error: Exception) -> SignatureError:
    reason = str(error).strip().partition("\n")[0]
    return SignatureError(
        f"its type hints make no JSON Schema: {reason}",
        "Use str, int, float, bool, list, dict, Literal, Enum, dataclasses or pydantic models.",
    )
