"""Tools that a model may call, and what may be said of which it is to call.

Names in the docstrings are the types' names in OpenAI's API reference.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Tag

from batchrun.chat.request.members import (
    MAPPING_OR_TEXT,
    Flag,
    Free,
    FreeMapping,
    KindOf,
    Members,
    Name,
    Templated,
    Text,
)


class FunctionDefinition(Members):
    """A function that the model may call (OpenAI: FunctionDefinition)."""

    name: Name
    """Letters, digits, underscores and dashes, at most 64."""
    description: Text | None = None
    """What it does, for the model."""
    parameters: FreeMapping | None = None
    """A JSON Schema of its arguments; without one it takes none."""
    strict: Flag | None = None
    """true: arguments follow the schema exactly."""


class FunctionTool(Members):
    """A function as a tool (OpenAI: ChatCompletionFunctionTool)."""

    type: Literal["function"]
    """function"""
    function: Templated[FunctionDefinition]
    """The function."""
    extra_body: dict[str, Free] | None = None
    """Further members of this tool, for what an endpoint adds to the standard."""


class TextInput(Members):
    """Input of any text (OpenAI: ChatCompletionCustomTool.custom.format)."""

    type: Literal["text"]
    """text"""


class Grammar(Members):
    """The grammar of an input (OpenAI: ChatCompletionCustomTool.custom.format.grammar)."""

    definition: Text
    """The grammar."""
    syntax: Templated[Literal["lark", "regex"]]
    """lark or regex."""


class GrammarInput(Members):
    """Input that follows a grammar (OpenAI: ChatCompletionCustomTool.custom.format)."""

    type: Literal["grammar"]
    """grammar"""
    grammar: Templated[Grammar]
    """The grammar."""


InputFormat: TypeAlias = Annotated[TextInput | GrammarInput, KindOf("type")]


class CustomDefinition(Members):
    """A tool that takes text (OpenAI: ChatCompletionCustomTool.custom)."""

    name: Name
    """Letters, digits, underscores and dashes, at most 64."""
    description: Text | None = None
    """What it does, for the model."""
    format: InputFormat | None = None
    """The form of its input: text, or a grammar."""


class CustomTool(Members):
    """A custom tool (OpenAI: ChatCompletionCustomTool)."""

    type: Literal["custom"]
    """custom"""
    custom: Templated[CustomDefinition]
    """The tool."""
    extra_body: dict[str, Free] | None = None
    """Further members of this tool, for what an endpoint adds to the standard."""


class WebSearchTool(Members):
    """The endpoint's own search of the web (Lunos: tools)."""

    type: Literal["web_search"]
    """web_search"""
    extra_body: dict[str, Free] | None = None
    """Further members of this tool, for what an endpoint adds to the standard."""


Tool: TypeAlias = Annotated[FunctionTool | CustomTool | WebSearchTool, KindOf("type")]
Tools: TypeAlias = Templated[Annotated[list[Templated[Tool]], Field(min_length=1)]]
Functions: TypeAlias = Templated[Annotated[list[Templated[FunctionDefinition]], Field(min_length=1)]]


class NamedTool(Members):
    """The name of a tool (OpenAI: ChatCompletionNamedToolChoice.function)."""

    name: Name
    """The name that `tools` gives it."""


class FunctionChoice(Members):
    """The one function to call (OpenAI: ChatCompletionNamedToolChoice)."""

    type: Literal["function"]
    """function"""
    function: NamedTool
    """The function."""


class CustomChoice(Members):
    """The one custom tool to call (OpenAI: ChatCompletionNamedToolChoiceCustom)."""

    type: Literal["custom"]
    """custom"""
    custom: NamedTool
    """The tool."""


class AllowedTools(Members):
    """Tools among which the model chooses (OpenAI: ChatCompletionAllowedToolChoice.allowed_tools)."""

    mode: Templated[Literal["auto", "required"]]
    """auto: it may call one of them; required: it must."""
    tools: Templated[list[FreeMapping]]
    """The tools, each as `type` and name: {type: function, function: {name: …}}."""


class AllowedToolsChoice(Members):
    """A choice among some of the tools (OpenAI: ChatCompletionAllowedToolChoice)."""

    type: Literal["allowed_tools"]
    """allowed_tools"""
    allowed_tools: AllowedTools
    """The tools."""


_NamedChoice: TypeAlias = Annotated[FunctionChoice | CustomChoice | AllowedToolsChoice, KindOf("type")]
ToolChoice: TypeAlias = Templated[
    Annotated[
        Annotated[Literal["none", "auto", "required"], Tag("<text>")]
        | Annotated[_NamedChoice, Tag("<mapping>")],
        MAPPING_OR_TEXT,
    ]
]
"""OpenAI: ChatCompletionToolChoiceOption."""

FunctionCallChoice: TypeAlias = Templated[
    Annotated[
        Annotated[Literal["none", "auto"], Tag("<text>")] | Annotated[NamedTool, Tag("<mapping>")],
        MAPPING_OR_TEXT,
    ]
]
"""The older form of a tool choice (OpenAI: function_call)."""
