"""What an answer says: structured, about tool results and media, or one of the usual notes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchrun.simulator.making import patterns, structured
from batchrun.simulator.making.draws import numbers
from batchrun.simulator.making.structured import PLAIN_OBJECT
from batchrun.simulator.making.vocabulary import TOKENS, WORDS
from batchrun.simulator.making.written import Text, as_json, one_label, plain
from batchrun.simulator.reading.request import ChatRequest

QUOTED = 200
"""Characters quoted of a tool's result."""

BESIDE = "none of these"
"""What a broken answer says in place of one of the choices."""


def write(request: ChatRequest, *draw: object, index: int, broken: bool = False) -> Text:
    """The text of choice `index`. `broken` gives JSON that its schema refuses, or none of the choices."""
    guide = request.guide
    match guide.kind:
        case "json":
            value = structured.value(guide.schema, guide.schema, *draw, request.key, index)
            return as_json(breach(value, guide.schema) if broken else value)
        case "choice":
            place = numbers(1, "choice", *draw, request.key, index)[0] % len(guide.choices)
            return plain(BESIDE) if broken else one_label(guide.choices[place], guide.choices)
        case "regex":
            return plain(patterns.sample(guide.pattern, *draw, request.key, index))
        case "tags":
            return plain(_tagged(guide.schema, *draw, request.key, index))
    return _note(request, *draw, index=index)


def breach(value: Any, schema: Mapping[str, Any]) -> Any:
    """`value`, changed so that `schema` refuses it: a member is missing, or everything is of a wrong type."""
    required = schema.get("required")
    if isinstance(value, dict):
        named = [name for name in required if name in value] if isinstance(required, list) else []
        if named:
            return {name: member for name, member in value.items() if name != named[0]}
        if value:
            return {**value, next(iter(value)): {"unexpected": [None]}}
    return {"unexpected": [None]} if not isinstance(value, dict) else [None]


def sentences(*draw: object, count: int = len(TOKENS), index: int = 0) -> list[str]:
    """The tokens of `count` of the usual sentences."""
    chance = numbers(len(TOKENS), *draw)
    picked: list[str] = []
    for place, options in enumerate(TOKENS[:count]):
        # Each place has its own stride, so that the choices of one answer differ in more than one sentence.
        picked += options[(chance[place] + index * (1 + 2 * place)) % len(options)]
    return picked


def _note(request: ChatRequest, *draw: object, index: int) -> Text:
    said = Text(tuple(sentences("text", *draw, request.key, index=index)))
    seen = f"Received {'; '.join(request.notes)}. " if request.notes else ""
    quoted = "".join(f"{name} gave: {result[:QUOTED]}\n" for name, result in request.results)
    # Cut anew as a whole: a space belongs to the word after it.
    return plain(f"{quoted}{seen}{said}") if seen or quoted else said


def _tagged(given: Mapping[str, Any], *draw: object) -> str:
    """A text in the form of a structural tag, of both kinds that vLLM takes."""
    if "format" in given:
        return _form(given["format"], *draw)
    written = "".join(sentences("tags", *draw, count=1))
    for place, structure in enumerate((given.get("structures") or ())[:1]):
        schema = structure.get("schema") or PLAIN_OBJECT
        inside = as_json(structured.value(schema, schema, *draw, place))
        written += f" {structure.get('begin', '')}{inside}{structure.get('end', '')}"
    return written


def _form(given: Any, *draw: object) -> str:
    """One format of a structural tag; a kind that is not known here is free text."""
    form = given if isinstance(given, Mapping) else {}
    match form.get("type"):
        case "const_string":
            return str(form.get("value", ""))
        case "json_schema":
            schema = form.get("json_schema")
            schema = schema if isinstance(schema, Mapping) else PLAIN_OBJECT
            return str(as_json(structured.value(schema, schema, *draw)))
        case "regex" if isinstance(form.get("pattern"), str):
            try:
                return patterns.sample(form["pattern"], *draw)
            except ValueError:
                pass
        case "tag":
            return f"{form.get('begin', '')}{_form(form.get('content'), *draw, 'tag')}{form.get('end', '')}"
        case "sequence":
            return "".join(_form(one, *draw, place) for place, one in enumerate(_list(form, "elements")))
        case "or" if _list(form, "elements"):
            return _form(_list(form, "elements")[0], *draw, "or")
        case "triggered_tags" | "tags_with_separator" if _list(form, "tags"):
            return _form({"type": "tag", **_list(form, "tags")[0]}, *draw, "tags")
    return "".join(sentences("form", *draw, count=1))


def _list(form: Mapping[str, Any], name: str) -> list[Any]:
    found = form.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def citations(text: str, *draw: object) -> list[dict[str, Any]]:
    """One `url_citation` of the first sentence; its indices are characters of `text`."""
    if not text:
        return []
    number = numbers(1, "citation", *draw)[0]
    word = WORDS[number % len(WORDS)]
    cited = {
        "start_index": 0,
        "end_index": text.find(".") + 1 or len(text),
        "url": f"https://example.com/{word}/{number}",
        "title": f"About {word}",
    }
    return [{"type": "url_citation", "url_citation": cited}]
