"""Which tools an answer calls, and with what. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchrun.codec import digest
from batchrun.simulator.making import patterns, structured
from batchrun.simulator.making.draws import numbers
from batchrun.simulator.making.written import Text, as_json, plain
from batchrun.simulator.reading.request import ChatRequest
from batchrun.simulator.reading.tools import Tool
from batchrun.simulator.replying.writing import breach, sentences


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool."""

    id: str
    tool: Tool
    text: Text
    """A function's arguments as JSON, or a custom tool's input."""

    def member(self) -> dict[str, Any]:
        """It as an item of `tool_calls`."""
        said = {
            "name": self.tool.name,
            "input" if self.tool.kind == "custom" else "arguments": str(self.text),
        }
        return {"id": self.id, "type": self.tool.kind, self.tool.kind: said}


def draw_calls(request: ChatRequest, *draw: object, index: int, broken: bool) -> list[ToolCall]:
    """The calls of choice `index`; none when the answer is to be text.

    A choice that must call a tool does so every time; one that may does as long as no tool has given a
    result, so that a loop of calls and results ends. Tools that the question names are called, else one or
    (in parallel) two drawn. `broken` gives arguments that their schema refuses.
    """
    offer = request.offer
    if not offer.tools or (request.used_tools and not offer.must):
        return []
    seed = (*draw, request.key, index)
    return [
        ToolCall(
            id=f"call_{digest(repr((seed, place)).encode())[:24]}",
            tool=tool,
            text=_said(tool, *seed, place, broken=broken),
        )
        for place, tool in enumerate(_picked(request, *seed))
    ]


def cut(calls: Sequence[ToolCall], most: int | None) -> tuple[list[ToolCall], bool]:
    """The calls that fit into `most` tokens, the last one cut off; and whether all of all fit."""
    kept: list[ToolCall] = []
    room = most
    for call in calls:
        if room is not None and len(call.text.tokens) > room:
            return ([*kept, replace(call, text=call.text.first(room))] if room else kept), False
        room = None if room is None else room - len(call.text.tokens)
        kept.append(call)
    return kept, True


def _picked(request: ChatRequest, *draw: object) -> list[Tool]:
    offer = request.offer
    most = None if offer.parallel else 1
    if named := [tool for tool in offer.tools if tool.name in request.question]:
        return named[:most]
    first, again = numbers(2, "tools", *draw)
    places = [first % len(offer.tools), (first + 1) % len(offer.tools)]
    return [offer.tools[place] for place in places[: 1 + again % 2][:most]]


def _said(tool: Tool, *draw: object, broken: bool) -> Text:
    if tool.kind == "custom":
        return plain(_input(tool, *draw))
    schema = {"type": "object", **tool.parameters}
    value = structured.value(schema, schema, *draw, "arguments")
    return as_json(breach(value, schema) if broken else value)


def _input(tool: Tool, *draw: object) -> str:
    grammar = tool.parameters.get("grammar") or {}
    if grammar.get("syntax") == "regex":
        try:
            return patterns.sample(grammar["definition"], *draw)
        except ValueError:
            pass  # not a simple one: text, as for a grammar of lark's
    return "".join(sentences("input", *draw, count=1))
