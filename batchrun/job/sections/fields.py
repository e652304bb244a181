"""The kinds of value that keys of the job file take, each with its check and its sentence.

Numbers and booleans are strict: a quoted "5" is no number. Only text that stood in the file as
one `${VAR}` is read as YAML first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from batchrun.chat.request.members import Members
from batchrun.job.document.document import WORDS, scalar
from batchrun.job.document.interpolate import Expanded, Unquoted

_SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
"""From the largest unit to the smallest, as they stand in a sum: 1h30m."""
_AMOUNT = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile("(?=[0-9])" + "".join(f"(?:{_AMOUNT}{unit})?" for unit in _SECONDS))
_PARTS = re.compile(f"({_AMOUNT})(ms|[dhms])")
_EXAMPLES = "a number of seconds, or text like 500ms, 90s, 5m, 1h30m, 2d"
_PERCENT = re.compile(r"(?P<amount>[0-9]+(?:\.[0-9]+)?) ?%")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_ALONE = re.compile(r"(?=.*[0-9])[A-Za-z0-9]{32,}")


class Section(Members):
    """A mapping of the job file whose keys are all known."""


def typed(value: Any) -> Any:
    """Read what a variable held as the number or boolean it spells."""
    return scalar(str(value)) if isinstance(value, Expanded) else value


def _seconds(value: Any) -> float:
    value = typed(value)
    if isinstance(value, str):
        text = value.strip()
        parts = _PARTS.findall(text) if _DURATION.fullmatch(text) else None
        value = sum(float(amount) * _SECONDS[unit] for amount, unit in parts) if parts else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"must be a time: {_EXAMPLES}")
    return float(value)


def _above_zero(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(f"must be a time above 0: {_EXAMPLES}")
    return seconds


def _share(value: Any) -> float:
    value = typed(value)
    if isinstance(value, str):
        match = _PERCENT.fullmatch(value.strip())
        value = float(match["amount"]) / 100 if match else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError('must be a percentage like "50%", or a number from 0 to 1')
    return float(value)


def _filled(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("must not be empty")
    return text


def run_name(name: str) -> str:
    """Check a name that a folder gets; raises ValueError with a sentence."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ValueError("must be made of letters, digits, dots, dashes and underscores: it names a folder")
    return name


def free(value: Any) -> Any:
    """Read what an unquoted variable held, except yes, no, on, off: nothing says that a boolean is meant."""
    if isinstance(value, dict):
        return {key: free(member) for key, member in value.items()}
    if isinstance(value, list):
        return [free(item) for item in value]
    if isinstance(value, Unquoted) and value.lower() not in WORDS:
        return typed(value)
    return str(value) if isinstance(value, Expanded) else value


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name) or _KEY_ALONE.fullmatch(name):
        raise ValueError(
            "must be the NAME of the environment variable that holds the key, never the key itself"
        )
    return name


def _spelled_model(spelled: str) -> str:
    endpoint, slash, model = spelled.partition("/")
    if not slash or not endpoint or not model.strip():
        raise ValueError("must be ENDPOINT/MODEL, as in openai/gpt-4.1-mini or vllm/Qwen/Qwen3-32B")
    return spelled


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
    ]
}
_POSITIVE_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": f"^(?=.*[1-9]){_DURATION.pattern}$"},
    ]
}
_SHARE_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?%$"},
    ]
}

VARIABLES: Mapping[str, Any] = {"typed": typed, "free": free}
"""The validation context in which values of the request are read where variables held them."""

# pydantic carries `ge` into the JSON Schema only where it stands before the validator
Count: TypeAlias = Annotated[int, Field(ge=1, strict=True), BeforeValidator(typed)]
FromZero: TypeAlias = Annotated[int, Field(ge=0, strict=True), BeforeValidator(typed)]
Whole: TypeAlias = Annotated[int, Field(strict=True), BeforeValidator(typed)]
Flag: TypeAlias = Annotated[bool, Field(strict=True), BeforeValidator(typed)]
Duration: TypeAlias = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds."""
PositiveDuration: TypeAlias = Annotated[
    float,
    BeforeValidator(_seconds),
    AfterValidator(_above_zero),
    WithJsonSchema(_POSITIVE_DURATION_SCHEMA),
]
Share: TypeAlias = Annotated[float, BeforeValidator(_share), WithJsonSchema(_SHARE_SCHEMA)]
"""A part of all rows, from 0 to 1."""
Text: TypeAlias = Annotated[str, AfterValidator(_filled), Field(json_schema_extra={"minLength": 1})]
RunName: TypeAlias = Annotated[
    str, AfterValidator(run_name), Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$"})
]
VariableName: TypeAlias = Annotated[
    str, AfterValidator(_variable), Field(json_schema_extra={"pattern": f"^{_VARIABLE.pattern}$"})
]
ModelName: TypeAlias = Annotated[
    str, AfterValidator(_spelled_model), Field(json_schema_extra={"pattern": "^[^/]+/.+$"})
]
Free: TypeAlias = Annotated[Any, BeforeValidator(free)]
"""Any JSON value."""
ColumnType: TypeAlias = Literal["string", "int64", "float64", "bool", "date", "timestamp", "json"]
