"""A row of the results as a conversation: who says what, from its prompt to its answer or error.

Nothing is made safe for a terminal here, nor cut: whoever prints it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchrun import codec
from batchrun.chat.transcript import flattened
from batchrun.wording import counted, duration, pretty, spelled, usd

Row = Mapping[str, Any]

NEEDED = (
    *("row_id", "status", "repaired", "stale", "completion", "parsed", "refusal", "reasoning"),
    *("finish_reason", "tool_calls", "confidence", "probabilities", "choices", "messages", "annotations"),
    *("audio", "usage", "cost_usd", "model", "response_model", "error", "attempts", "latency", "ttft"),
)
"""Columns of the results that a conversation is made of, beside the input's."""

_LABELS = 5
"""Probabilities that are shown, the highest ones."""

_DETAILS = ("cached_tokens", "reasoning_tokens")

_WAV_HEADER = 44
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Part:
    """A text, perhaps labelled. `kind` is text, note (beside the matter) or error."""

    text: str
    label: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one role says; `input` and `error` stand for the row's own."""

    role: str
    parts: tuple[Part, ...]


def turns(row: Row, inputs: Sequence[str] = ()) -> Iterator[Turn]:
    """The turns of a row: its transcript, or else its columns `inputs`; its answers; its error.

    A column that the row does not have is as good as null.
    """
    messages = _before_the_answer(_value(row.get("messages")) or [], row)
    if messages:
        yield from transcript(messages)
    else:
        yield from _inputs(row, [name for name in inputs if row.get(name) is not None])
    choices = row.get("choices") or [row]
    for number, choice in enumerate(choices, start=1):
        role = f"assistant, choice {number} of {len(choices)}" if len(choices) > 1 else "assistant"
        parts = [*_answer(choice, _is_refused(row)), *(_sureness(row) if number == 1 else ())]
        if parts:
            yield Turn(role, tuple(parts))
    error = row.get("error")
    if error is not None and not _is_refused(row):
        yield Turn("error", (Part(f"{error['type']}: {error['message'] or ''}", kind="error"),))


def _inputs(row: Row, names: Sequence[str]) -> Iterator[Turn]:
    """The row's own columns; one that holds messages is a conversation already."""
    talks = [name for name in names if _is_talk(row[name])]
    if plain := [name for name in names if name not in talks]:
        yield Turn("input", tuple(Part(spelled(_without_nulls(row[name])), f"{name}: ") for name in plain))
    for name in talks:
        yield from transcript([flattened(message) for message in row[name]])


def _without_nulls(value: Any) -> Any:
    """A struct without its members that are null: it has all that any row's has."""
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(item) for name, item in value.items() if item is not None}


def _is_talk(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and isinstance(item.get("role"), str) for item in value)
    )


def facts(row: Row) -> list[str]:
    """What the answer took: model, time, tokens, cost, calls."""
    calls = row.get("attempts") or []
    reason, cost, ttft = row.get("finish_reason"), row.get("cost_usd"), row.get("ttft")
    found = [
        _model(row),
        None if row.get("latency") is None else duration(row["latency"]),
        None if ttft is None else f"first token after {duration(ttft)}",
        _tokens(row.get("usage") or {}),
        None if cost is None else usd(cost),
        _calls(calls) if len(calls) > 1 else None,
        None if reason in (None, "stop") else f"finish_reason {reason}",
        "repaired" if row.get("repaired") else None,
    ]
    return [fact for fact in found if fact]


def _model(row: Row) -> str | None:
    """Who was asked; of a model that the row itself named, by the name that the server gave."""
    model, said = row.get("model"), row.get("response_model")
    return f"{model.removesuffix('*')}{said}" if model and said and model.endswith("/*") else model


def _is_refused(row: Row) -> bool:
    """Whether the refusal is why the row failed: it says what the error says."""
    error = row.get("error")
    return bool(error is not None and error["type"] == "refusal" and row.get("refusal"))


def _before_the_answer(messages: Sequence[Row], row: Row) -> Sequence[Row]:
    """The transcript without its last message where that is the answer, which has columns of its own."""
    answer = [row.get(name) or None for name in ("completion", "refusal")]
    last = messages[-1] if messages else {}
    if last.get("role") != "assistant" or not (any(answer) or row.get("tool_calls")):
        return messages
    calls = len(last.get("tool_calls") or ()) == len(row.get("tool_calls") or ())
    same = [last.get(name) or None for name in ("content", "refusal")] == answer and calls
    return messages[:-1] if same else messages


def transcript(messages: Sequence[Row]) -> Iterator[Turn]:
    """The turns of messages as the `messages` column has them (`chat.transcript.flattened`)."""
    names: dict[str, str] = {}
    """The functions by the ids of their calls so far; a server may use an id again in a later turn."""
    for message in messages:
        calls = message.get("tool_calls") or []
        names |= {call["id"]: call["name"] or "" for call in calls if call.get("id")}
        name = message.get("name") or names.get(message.get("tool_call_id") or "")
        yield Turn(" ".join(filter(None, (message["role"] or "?", name))), tuple(_message(message)))


def _message(message: Row) -> Iterator[Part]:
    if message.get("reasoning"):
        yield Part(message["reasoning"], "reasoning: ", "note")
    if message.get("parts"):
        yield from map(_content_part, message["parts"])
    elif message.get("content") is not None:
        yield Part(message["content"])
    if message.get("refusal"):
        yield Part(message["refusal"], "refusal: ", "note")
    yield from map(_tool_call, message.get("tool_calls") or ())


def _content_part(part: Row) -> Part:
    """Text as it is, media as a short note."""
    kind = str(part.get("type") or "part").removeprefix("input_").removesuffix("_url")
    if part.get("text") is not None:
        return Part(part["text"]) if kind == "text" else Part(part["text"], f"{kind}: ", "note")
    return Part(f"[{kind} {part['source']}]" if part.get("source") else f"[{kind}]", kind="note")


def _answer(answer: Row, is_refused: bool) -> Iterator[Part]:
    """The parts of a row or of one of its choices."""
    if answer.get("reasoning"):
        yield Part(answer["reasoning"], "reasoning: ", "note")
    if answer.get("refusal"):
        yield Part(answer["refusal"], "refusal: ", "error" if is_refused else "note")
    yield from _content(answer.get("completion"), _value(answer.get("parsed")))
    yield from map(_tool_call, answer.get("tool_calls") or ())
    if audio := answer.get("audio"):
        yield from _audio(audio)
    for link in answer.get("annotations") or ():
        text = " ".join(filter(None, (link.get("title"), link.get("url")))) or link.get("type") or ""
        yield Part(text, "source: ", "note")


def _content(text: str | None, parsed: Any) -> Iterator[Part]:
    """The parsed output, and the text where it says anything else."""
    if parsed is None:
        if text:
            yield Part(text)
        return
    if text and not _same(_value(text), parsed):
        yield Part(text)
        yield Part(spelled(parsed), "parsed: ")
    else:
        yield Part(spelled(parsed))


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; a member that is null is as good as one that is missing."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_same(one.get(key), other.get(key)) for key in {*one, *other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _tool_call(call: Row) -> Part:
    given = _value(call["arguments"]) if call.get("arguments") else call.get("input")
    return Part(f"{call.get('name') or '?'}({given if isinstance(given, str) else pretty(given or {})})")


def _audio(audio: Row) -> Iterator[Part]:
    data: bytes = audio.get("data") or b""
    seconds = audio_seconds(data, audio.get("format"))
    about = " ".join(
        filter(None, ("" if seconds is None else f"{seconds:.1f} s", _kind(data, audio.get("format"))))
    )
    yield Part(f"[audio {about}{', ' if about else ''}{counted(len(data), 'byte')}]", kind="note")
    if audio.get("transcript"):
        yield Part(audio["transcript"])


def _kind(data: bytes, given: str | None) -> str:
    return given or ("wav" if data[:4] == b"RIFF" else "")


def audio_seconds(data: bytes, given: str | None) -> float | None:
    """How long audio lasts, for the forms that say so without decoding; else None.

    wav: bytes 28 to 31 hold the bytes a second (RIFF WAVE's `nAvgBytesPerSec`), after which sizes are
    not to be trusted, since a streamed header has none. pcm16: 24 kHz, 16 bits, one channel (OpenAI's
    audio guide).
    """
    if data[:4] == b"RIFF" and len(data) > _WAV_HEADER and (rate := int.from_bytes(data[28:32], "little")):
        return (len(data) - _WAV_HEADER) / rate
    return len(data) / 48_000 if given == "pcm16" and data else None


def _sureness(row: Row) -> Iterator[Part]:
    if row.get("confidence") is None:
        return
    each = _by_label(_value(row.get("probabilities")))
    highest = sorted(each.items(), key=lambda item: -item[1])[:_LABELS]
    said = ", ".join(f"{label} {p:.3f}" for label, p in highest)
    yield Part(f"{row['confidence']:.3f}" + (f" ({said})" if said else ""), "confidence: ", "note")


def _by_label(found: Any) -> dict[str, float]:
    """A struct with a member for each label, or a list of them where the job names none."""
    if isinstance(found, list):
        found = {item["label"]: item["probability"] for item in found}
    return {label: p for label, p in (found or {}).items() if p is not None}


def _tokens(usage: Row) -> str | None:
    tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if tokens == (None, None):
        return None
    details = [f"{usage[name]} {name.removesuffix('_tokens')}" for name in _DETAILS if usage.get(name)]
    return f"{tokens[0] or 0}+{tokens[1] or 0} tokens" + (f" ({', '.join(details)})" if details else "")


def _calls(attempts: Sequence[Row]) -> str:
    failures = dict.fromkeys(item["error_type"] for item in attempts if item.get("error_type"))
    return counted(len(attempts), "call") + (f" ({', '.join(failures)})" if failures else "")


def _value(text: Any) -> Any:
    """A value that is JSON text in the checkpoint, and a struct once it is published; else as it is."""
    if not isinstance(text, str):
        return text
    try:
        return codec.loads(text.encode())
    except ValueError:
        return text
