"""Message lists that come with a row: data, held only to what no endpoint would take otherwise.

Roles, types of parts and members that are not known here pass as they are: an endpoint may know
them (Lightcone: CustomChatCompletionMessageParam). A null member counts as absent, since a Parquet
struct has every member that any of the rows has. Written by hand: it runs for every row.
"""

from __future__ import annotations

from typing import Any

_NEED_CONTENT = frozenset({"system", "developer", "user", "tool"})
_BODY_OF_PART: dict[str, tuple[str, type | tuple[type, ...], str]] = {
    "text": ("text", str, "text"),
    "refusal": ("refusal", str, "text"),
    "thinking": ("thinking", str, "text"),
    "image_url": ("image_url", (dict, str), "a mapping with url, or a URL"),
    "audio_url": ("audio_url", (dict, str), "a mapping with url, or a URL"),
    "video_url": ("video_url", (dict, str), "a mapping with url, or a URL"),
    "input_audio": ("input_audio", dict, "a mapping with data and format"),
    "file": ("file", dict, "a mapping"),
}
"""Type of a part → its member, that member's type, and what to call it."""

_NEEDED_INSIDE = {
    "image_url": ("url",),
    "audio_url": ("url",),
    "video_url": ("url",),
    "input_audio": ("data", "format"),
}


def check_messages(messages: Any) -> str | None:
    """The reason a row's list of messages is wrong, as `messages[2].content: …`; None when it is right.

    Never raises, and changes nothing.
    """
    if not isinstance(messages, list) or not messages:
        return f"messages: must be a list of at least one message; found {_kind(messages)}"
    for index, message in enumerate(messages):
        wrong = _wrong_message(message)
        if wrong is not None:
            return f"messages[{index}]{wrong}"
    return None


def _wrong_message(message: Any) -> str | None:
    if not isinstance(message, dict):
        return f": must be a mapping; found {_kind(message)}"
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not role:
        return f".role: must be text, as user; found {_kind(role)}"
    if not isinstance(content, str):
        wrong = _wrong_content(role, content)
        if wrong is not None:
            return f".content{wrong}"
    if role in ("system", "developer", "user"):
        return None
    return _wrong_members(role, message)


def _wrong_content(role: str, content: Any) -> str | None:
    if content is None:
        return f": must be given for the role {role}; found null" if role in _NEED_CONTENT else None
    if not isinstance(content, list):
        return f": must be text or a list of parts; found {_kind(content)}"
    if not content:
        return ": must be text or a list of at least one part; found an empty list"
    for index, part in enumerate(content):
        wrong = _wrong_part(part)
        if wrong is not None:
            return f"[{index}]{wrong}"
    return None


def _wrong_part(part: Any) -> str | None:
    if isinstance(part, str):
        return None  # Lightcone takes plain text for a part
    if not isinstance(part, dict):
        return f": must be a mapping; found {_kind(part)}"
    kind = part.get("type")
    if kind is not None and not isinstance(kind, str):
        return f".type: must be text; found {_kind(kind)}"
    if kind is None:
        has_any = any(value is not None for value in part.values())
        return None if has_any else ": must have a type; found an empty mapping"
    if kind not in _BODY_OF_PART:
        return None
    name, types, wanted = _BODY_OF_PART[kind]
    body = part.get(name)
    if not isinstance(body, types):
        return f".{name}: must be {wanted}; found {_kind(body)}"
    return _wrong_inside(name, body) if isinstance(body, dict) else None


def _wrong_inside(name: str, body: dict[str, Any]) -> str | None:
    for member in _NEEDED_INSIDE.get(name, ()):
        if not isinstance(body.get(member), str):
            return f".{name}.{member}: must be text; found {_kind(body.get(member))}"
    if name == "file" and all(value is None for value in body.values()):
        return ".file: must have file_data or file_id; found an empty mapping"
    return None


def _wrong_members(role: str, message: dict[str, Any]) -> str | None:
    if role == "assistant":
        return _wrong_assistant(message)
    needed = {"tool": "tool_call_id", "function": "name"}.get(role)
    if needed is not None and not isinstance(message.get(needed), str):
        return f".{needed}: must be text for the role {role}; found {_kind(message.get(needed))}"
    return None


def _wrong_assistant(message: dict[str, Any]) -> str | None:
    if not any(value is not None for key, value in message.items() if key not in ("role", "name")):
        return ".content: must be given for an assistant without tool_calls or a refusal; found null"
    calls = message.get("tool_calls")
    if calls is None:
        return None
    if not isinstance(calls, list):
        return f".tool_calls: must be a list; found {_kind(calls)}"
    for index, call in enumerate(calls):
        wrong = _wrong_call(call)
        if wrong is not None:
            return f".tool_calls[{index}]{wrong}"
    return None


def _wrong_call(call: Any) -> str | None:
    if not isinstance(call, dict):
        return f": must be a mapping; found {_kind(call)}"
    if not isinstance(call.get("id"), str):
        return f".id: must be text, which the tool's message repeats; found {_kind(call.get('id'))}"
    for name, text in (("function", "arguments"), ("custom", "input")):
        body = call.get(name)
        if body is None:
            continue
        if not isinstance(body, dict):
            return f".{name}: must be a mapping; found {_kind(body)}"
        for member in ("name", text):
            if not isinstance(body.get(member), str):
                wanted = "JSON text" if member == "arguments" else "text"
                return f".{name}.{member}: must be {wanted}; found {_kind(body.get(member))}"
    return None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "text" if value else "an empty text"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
