"""Tools that a model may call, and what may be said of which it is to call.

Names in the docstrings are the types' names in OpenAI's API reference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from batchrun.chat.request.members import Flag, Free, FreeMapping, Members, Name, Templated, Text, kind_of


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


InputFormat: TypeAlias = Annotated[
    Annotated[TextInput, Tag("<TextInput>")] | Annotated[GrammarInput, Tag("<GrammarInput>")],
    kind_of("type", {"text": TextInput, "grammar": GrammarInput}),
]


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


Tool: TypeAlias = Annotated[
    Annotated[FunctionTool, Tag("<FunctionTool>")]
    | Annotated[CustomTool, Tag("<CustomTool>")]
    | Annotated[WebSearchTool, Tag("<WebSearchTool>")],
    kind_of("type", {"function": FunctionTool, "custom": CustomTool, "web_search": WebSearchTool}),
]
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


_CHOICES: dict[str, type[Members]] = {
    "function": FunctionChoice,
    "custom": CustomChoice,
    "allowed_tools": AllowedToolsChoice,
}


def _is_named(value: Any) -> str:
    return "<named>" if isinstance(value, dict | Members) else "<word>"


_NamedChoice: TypeAlias = Annotated[
    Annotated[FunctionChoice, Tag("<FunctionChoice>")]
    | Annotated[CustomChoice, Tag("<CustomChoice>")]
    | Annotated[AllowedToolsChoice, Tag("<AllowedToolsChoice>")],
    kind_of("type", _CHOICES),
]
ToolChoice: TypeAlias = Templated[
    Annotated[
        Annotated[Literal["none", "auto", "required"], Tag("<word>")]
        | Annotated[_NamedChoice, Tag("<named>")],
        Discriminator(_is_named),
    ]
]
"""OpenAI: ChatCompletionToolChoiceOption."""

FunctionCallChoice: TypeAlias = Templated[
    Annotated[
        Annotated[Literal["none", "auto"], Tag("<word>")] | Annotated[NamedTool, Tag("<NamedTool>")],
        Discriminator(lambda value: "<NamedTool>" if isinstance(value, dict | Members) else "<word>"),
    ]
]
"""The older form of a tool choice (OpenAI: function_call)."""
