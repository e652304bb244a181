"""The form that an answer is asked to have.

Names in the docstrings are the types' names in OpenAI's API reference, or in Lightcone's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from batchrun.chat.request.members import Flag, Free, FreeMapping, KindOf, Members, Name, Templated, Text


class TextFormat(Members):
    """Any text (OpenAI: ResponseFormatText)."""

    type: Literal["text"]
    """text"""


class JsonObjectFormat(Members):
    """Any JSON object; the prompt must ask for JSON (OpenAI: ResponseFormatJSONObject)."""

    type: Literal["json_object"]
    """json_object"""


class NamedSchema(Members):
    """A schema with the name that the model sees (OpenAI: ResponseFormatJSONSchema.json_schema)."""

    name: Name
    """Letters, digits, underscores and dashes, at most 64."""
    description: Text | None = None
    """What the answer is for, for the model."""
    schema_: FreeMapping | None = Field(default=None, alias="schema")
    """The JSON Schema."""
    strict: Flag | None = None
    """true: the answer follows the schema exactly, which must keep to OpenAI's subset."""


class JsonSchemaFormat(Members):
    """JSON that follows a schema (OpenAI: ResponseFormatJSONSchema)."""

    type: Literal["json_schema"]
    """json_schema"""
    json_schema: Templated[NamedSchema]
    """The schema."""


class GrammarFormat(Members):
    """Text that follows a grammar (OpenAI: ResponseFormatTextGrammar)."""

    type: Literal["grammar"]
    """grammar"""
    grammar: Text
    """The grammar."""


class PythonFormat(Members):
    """Python code (OpenAI: ResponseFormatTextPython)."""

    type: Literal["python"]
    """python"""


class Structure(Members):
    """Text between two tags (Lightcone: LegacyStructuralTagResponseFormat.structures)."""

    begin: Text
    """What opens it."""
    end: Text
    """What closes it."""
    schema_: FreeMapping | None = Field(default=None, alias="schema")
    """A JSON Schema of what stands between."""


class StructuralTagFormat(Members):
    """Text of which tagged parts are constrained (Lightcone: StructuralTagResponseFormat, in both forms).

    Either `format`, or the older `structures` with `triggers`.
    """

    type: Literal["structural_tag"]
    """structural_tag"""
    format: Free = None
    """The structure, as the server's grammar engine describes it."""
    structures: list[Structure] | None = None
    """The older form: the tagged parts."""
    triggers: list[Text] | None = None
    """The older form: text at which a tagged part begins."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given: set[Any] = self.model_fields_set - {"type"}
        if given not in ({"format"}, {"structures", "triggers"}):
            raise ValueError("needs either `format`, or `structures` and `triggers`")
        return self


ResponseFormat: TypeAlias = Templated[
    Annotated[
        TextFormat | JsonObjectFormat | JsonSchemaFormat | GrammarFormat | PythonFormat | StructuralTagFormat,
        KindOf("type"),
    ]
]
