"""Rows for the ways to ask that are more than one prompt: batches, conversations, extraction, tools."""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from draw import Draw

WORDS: Mapping[str, Any] = tomllib.loads(
    (Path(__file__).parent / "exchanges.toml").read_text(encoding="utf-8")
)
NOUNS = ("kettle", "casserole", "coffee grinder", "bread tin", "desk lamp", "rucksack", "wool blanket")
BATCH, CONVERSATIONS, CONTACTS, TRIPS = 30, 20, 60, 24

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a month in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "month": {"type": "string"}},
            "required": ["city", "month"],
            "additionalProperties": False,
        },
    },
}
VERDICT = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"verdict": {"type": "string", "enum": ["yes", "no", "depends"]}},
            "required": ["verdict"],
            "additionalProperties": False,
        },
    },
}


def batch_rows() -> Iterator[dict[str, Any]]:
    """Whole requests, in which hardly two have the same members."""
    draw = Draw("batch")
    for number in range(1, BATCH + 1):
        kind = draw.deal(tuple(_BODIES))
        body = {"model": draw.deal(("gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o-mini"))} | _BODIES[kind](draw)
        yield {
            "custom_id": f"{kind}-{number:03}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }


def _plain(draw: Draw) -> dict[str, Any]:
    return {"messages": [_user(draw)], "temperature": draw.pick((0, 0.2, 0.7, 1)), "max_tokens": 60}


def _seeded(draw: Draw) -> dict[str, Any]:
    return {"messages": [_system(draw), _user(draw)], "seed": draw.number(1, 999), "n": 2, "stop": ["\n\n"]}


def _tools(draw: Draw) -> dict[str, Any]:
    place = f"{draw.deal(WORDS['cities'])} in {draw.deal(WORDS['months'])}"
    asked = {"role": "user", "content": f"Do I need an umbrella in {place}?"}
    return {"messages": [asked], "tools": [WEATHER], "tool_choice": draw.pick(("auto", "required"))}


def _schema(draw: Draw) -> dict[str, Any]:
    return {"messages": [_user(draw)], "response_format": VERDICT, "temperature": 0}


def _turns(draw: Draw) -> dict[str, Any]:
    return {"messages": [_system(draw), *exchange(draw, turns=2)], "max_completion_tokens": 80}


_BODIES: Mapping[str, Callable[[Draw], dict[str, Any]]] = {
    "plain": _plain,
    "seeded": _seeded,
    "tools": _tools,
    "schema": _schema,
    "turns": _turns,
}


def _system(draw: Draw) -> dict[str, Any]:
    return {"role": "system", "content": draw.say(WORDS["questions"]["system"], {})[0]}


def _user(draw: Draw) -> dict[str, Any]:
    (text,) = draw.say(WORDS["questions"]["first"], {"noun": draw.deal(NOUNS)})
    return {"role": "user", "content": text}


def exchange(draw: Draw, turns: int) -> list[dict[str, Any]]:
    """A conversation that ends with a question; `turns` counts the questions."""
    messages = [_user(draw)]
    for _ in range(turns - 1):
        messages.append({"role": "assistant", "content": draw.say(WORDS["questions"]["answer"], {})[0]})
        messages.append({"role": "user", "content": draw.say(WORDS["questions"]["next"], {})[0]})
    return messages


def conversation_rows() -> Iterator[dict[str, Any]]:
    """Message lists of one to four questions; every fifth one has called a function."""
    draw = Draw("conversations")
    for number in range(1, CONVERSATIONS + 1):
        messages = [_system(draw)] if draw.chance(0.4) else []
        messages += weather_exchange(draw) if number % 5 == 0 else exchange(draw, draw.number(1, 4))
        asked = sum(message["role"] == "user" for message in messages)
        yield {"conversation_id": f"V-{number:02}", "questions": asked, "messages": messages}


def weather_exchange(draw: Draw) -> list[dict[str, Any]]:
    """A question, the call that it made a model ask for, the result, and the answer to it."""
    city, month = draw.deal(WORDS["cities"]), draw.deal(WORDS["months"])
    degrees, name = draw.number(-4, 31), f"call_{draw.number(10_000, 99_999)}"
    arguments = json.dumps({"city": city, "month": month}, ensure_ascii=False)
    call = {"id": name, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    return [
        {"role": "user", "content": f"How warm is {city} in {month}?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": name, "content": json.dumps({"degrees": degrees})},
        {"role": "assistant", "content": f"About {degrees} degrees."},
        {"role": "user", "content": draw.say(WORDS["questions"]["next"], {})[0]},
    ]


def contact_rows() -> Iterator[dict[str, Any]]:
    """Letters with a name, an amount, a date and often an address in them, and what to find (`gold_…`)."""
    draw, words = Draw("contacts"), WORDS["contacts"]
    for number in range(1, CONTACTS + 1):
        label = draw.deal(("invoice", "refund", "quote"))
        person, company = draw.pick(WORDS["people"]), draw.pick(WORDS["companies"])
        cents, day = draw.number(900, 240_000), date(2025, 1, 7) + timedelta(days=draw.number(0, 500))
        slots = {
            "person": person,
            "company": company,
            "email": _address(draw, person),
            "amount": _amount(draw, cents),
            "date": _spelled(draw, day),
            "number": f"{draw.pick('ABKQ')}-{draw.number(1000, 9999)}",
        }
        body = draw.say(words[label], slots) + draw.say(words["aside"], {}, count=draw.chance(0.6))
        text = "\n\n".join(filter(None, [*draw.say(words["greeting"], {}), " ".join(body)]))
        text = f"{text}\n\n{draw.say(words['sign'], slots)[0]}"
        yield {
            "contact_id": f"K-{number:03}",
            "text": text,
            "gold_label": label,
            "gold_name": person,
            "gold_email": slots["email"] if slots["email"] in text else None,
            "gold_amount": cents / 100,
            "gold_date": day.isoformat(),
        }


def _address(draw: Draw, person: str) -> str:
    plain = unicodedata.normalize("NFKD", person).encode("ascii", "ignore").decode().lower()
    first, last = re.sub(r"[^a-z ]", "", plain).split()[0], plain.split()[-1]
    return f"{draw.pick((f'{first}.{last}', f'{first[0]}{last}', first))}@example.com"


def _amount(draw: Draw, cents: int) -> str:
    return draw.pick((f"€{cents / 100:,.2f}", f"EUR {cents / 100:.2f}", f"{cents / 100:.2f} euros"))


def _spelled(draw: Draw, day: date) -> str:
    month = WORDS["months"][day.month - 1]
    words = (f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}")
    return draw.pick((*words, day.isoformat(), f"{day:%d.%m.%Y}"))


def trip_rows() -> Iterator[dict[str, Any]]:
    """Short journeys to plan, step by step or with functions."""
    draw = Draw("trips")
    for number in range(1, TRIPS + 1):
        yield {
            "trip_id": f"T{number:02}",
            "city": draw.deal(WORDS["cities"]),
            "days": draw.number(2, 7),
            "month": draw.deal(WORDS["months"]),
            "interest": draw.deal(WORDS["interests"]),
        }
