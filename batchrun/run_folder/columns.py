"""The results' columns beside the input's: their types, and their values from a row's records.

The same columns with the same types are in every part, however many nulls a part holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pyarrow as pa

from batchrun import codec
from batchrun.chat.completion import Completion, ErrorInside, NoAnswer, read_completion
from batchrun.outcome import Completed, Exchange, Reply, Unanswered, Usage
from batchrun.run_folder.choice_columns import (
    ANNOTATIONS,
    AUDIO,
    CHOICES,
    LOGPROBS,
    PROMPT_LOGPROBS,
    TEXT,
    TOKEN_IDS,
    TOOL_CALLS,
    choice_values,
)
from batchrun.run_folder.history import History
from batchrun.run_folder.records import REQUEST_ID_HEADERS, Done

_Read: TypeAlias = Completion | ErrorInside | NoAnswer
"""A 2xx answer: each kind says what the call took."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

_TIME = pa.timestamp("us", tz="UTC")
_USAGE = pa.struct([(name, pa.int64()) for name in Usage.__dataclass_fields__])
_ATTEMPTS = pa.list_(
    pa.struct(
        [
            ("model", TEXT),
            ("endpoint", TEXT),
            ("started_at", _TIME),
            ("latency", pa.float64()),
            ("http_status", pa.int32()),
            ("error_type", TEXT),
            ("request_id", TEXT),
            ("usage", _USAGE),
            ("sent", pa.bool_()),
        ]
    )
)

RESULT_SCHEMA = pa.schema(
    [
        ("row_index", pa.int64()),
        ("row_id", TEXT),
        ("status", TEXT),
        ("repaired", pa.bool_()),
        ("stale", pa.bool_()),
        ("duplicate_of", TEXT),
        ("completion", TEXT),
        ("parsed", TEXT),
        ("refusal", TEXT),
        ("reasoning", TEXT),
        ("finish_reason", TEXT),
        ("tool_calls", TOOL_CALLS),
        ("logprobs", LOGPROBS),
        ("confidence", pa.float64()),
        ("probabilities", TEXT),
        ("choices", CHOICES),
        ("messages", TEXT),
        ("prompt_logprobs", PROMPT_LOGPROBS),
        ("refusal_logprobs", LOGPROBS),
        ("token_ids", TOKEN_IDS),
        ("annotations", ANNOTATIONS),
        ("audio", AUDIO),
        ("usage", _USAGE),
        ("cost_usd", pa.float64()),
        ("model", TEXT),
        ("response_model", TEXT),
        ("endpoint", TEXT),
        ("model_index", pa.int32()),
        ("error_type", TEXT),
        (
            "error",
            pa.struct([("type", TEXT), ("code", TEXT), ("http_status", pa.int32()), ("message", TEXT)]),
        ),
        ("attempts", _ATTEMPTS),
        ("latency", pa.float64()),
        ("ttft", pa.float64()),
        ("started_at", _TIME),
        ("finished_at", _TIME),
        ("response_id", TEXT),
        ("system_fingerprint", TEXT),
        ("service_tier", TEXT),
        ("request_hash", TEXT),
    ]
)
"""Every column of ours, in the results' order; input columns stand after `row_id`.

What the job decides the type of is JSON text here, in the checkpoint: `parsed`, also in `choices`,
`probabilities` and `messages`. Only a publication knows `stale` and `duplicate_of`.
"""


def result_values(history: History) -> dict[str, Any]:
    """The values of all columns of RESULT_SCHEMA for one finished task."""
    done = history.done
    assert done is not None, "only finished tasks have results"
    reads = {
        call: read
        for call, answered in history.answered.items()
        if (read := _read(answered.exchange)) is not None
    }
    earlier = done.earlier or {}
    attempts = [
        *(
            {**attempt, "started_at": _time(attempt["started_at"])}
            for attempt in earlier.get("attempts") or ()
        ),
        *(_attempt(history, call, reads.get(call), done) for call in sorted(history.sent)),
    ]
    call = done.outcome.call
    read = reads.get(call) if call is not None else None
    return {
        "row_index": done.row,
        "row_id": _encodable(done.row_id),
        "stale": False,
        **_outcome_values(done),
        **_completion_values(read if isinstance(read, Completion) else None, done.reading or {}),
        **_call_values(history, call),
        "usage": _total_usage(reads.values(), earlier.get("usage")),
        "cost_usd": _total_cost(done, reads.values(), earlier.get("cost_usd")),
        "model_index": done.model_index,
        "attempts": attempts,
        "started_at": attempts[0]["started_at"] if attempts else None,
        "finished_at": _time(done.at),
        "request_hash": done.request_hash,
    }


def _outcome_values(done: Done) -> dict[str, Any]:
    if isinstance(done.outcome, Completed):
        return {"status": "ok", "error_type": None, "error": None}
    error = {name: _encodable(value) for name, value in asdict(done.outcome.error).items()}
    return {"status": "failed", "error_type": error["type"], "error": error}


def _encodable(value: Any) -> Any:
    """A lone surrogate, as a server's or a row's text may hold, as U+FFFD: Arrow cannot carry it."""
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _read(exchange: Exchange) -> _Read | None:
    if not isinstance(exchange, Reply) or not 200 <= exchange.status < 300:
        return None
    return read_completion(exchange.body)


def _completion_values(completion: Completion | None, reading: Mapping[str, Any]) -> dict[str, Any]:
    """What the answer says, and what the job made of it (`Done.reading`)."""
    repaired = bool(completion and completion.repaired) or bool(reading.get("repaired"))
    read = {
        "repaired": repaired,
        "parsed": _json(reading["parsed"]) if "parsed" in reading else None,
        "confidence": reading.get("confidence"),
        "probabilities": _json_or_null(reading.get("probabilities")),
        "messages": _json_or_null(reading.get("transcript")),
    }
    if completion is None:
        return read
    audio_format = reading.get("audio_format")
    arguments = reading.get("tool_arguments") or ()
    return {
        **read,
        **choice_values(completion.choices[0], audio_format=audio_format, arguments=arguments),
        "choices": _several(completion, reading) if len(completion.choices) > 1 else None,
        "prompt_logprobs": completion.prompt_logprobs,
        "response_model": completion.model,
        "response_id": completion.id,
        "system_fingerprint": completion.system_fingerprint,
        "service_tier": completion.service_tier,
    }


def _several(completion: Completion, reading: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All choices; of their tool calls only those of the first are read by their schema."""
    parsed = [*(reading.get("choices_parsed") or ()), *[None] * len(completion.choices)]
    audio_format = reading.get("audio_format")
    arguments = [reading.get("tool_arguments") or (), *[()] * len(completion.choices)]
    return [
        {
            "index": choice.index,
            "parsed": _json_or_null(parsed[place]),
            **choice_values(choice, audio_format=audio_format, arguments=arguments[place]),
        }
        for place, choice in enumerate(completion.choices)
    ]


def _json(value: Any) -> str:
    return codec.dumps(value).decode()


def _json_or_null(value: Any) -> str | None:
    return None if value is None else _json(value)


def _call_values(history: History, call: int | None) -> dict[str, Any]:
    """What the results say of the call that decided the row, or else of the last one."""
    if call is None:
        call = max(history.sent, default=None)
    if call is None or call not in history.sent:
        return {}
    answered = history.answered.get(call)
    return {
        "model": history.sent[call].model,
        "endpoint": history.sent[call].endpoint,
        "latency": answered.exchange.latency if answered else None,
        "ttft": answered.exchange.ttft if answered and isinstance(answered.exchange, Reply) else None,
    }


def _attempt(history: History, call: int, read: _Read | None, done: Done) -> dict[str, Any]:
    sent = history.sent[call]
    answered = history.answered.get(call)
    exchange = answered.exchange if answered else None
    return {
        "model": sent.model,
        "endpoint": sent.endpoint,
        "started_at": _time(sent.at),
        "latency": exchange.latency if exchange else None,
        "http_status": exchange.status if isinstance(exchange, Reply) else None,
        "error_type": done.errors[call] if call < len(done.errors) else None,
        "request_id": request_id(exchange.headers) if isinstance(exchange, Reply) else None,
        "usage": _counts(read.usage) if read and read.usage else None,
        "sent": exchange.sent if isinstance(exchange, Unanswered) else True,
    }


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id by which the provider's support finds a call."""
    found = next((headers[name] for name in REQUEST_ID_HEADERS if name in headers), None)
    return None if found is None else _LONE_SURROGATE.sub("\ufffd", found)


def _counts(usage: Usage) -> dict[str, int | None]:
    return {
        name: getattr(usage, name) for name in Usage.__dataclass_fields__
    }  # asdict takes ten times as long


def _total_usage(reads: Iterable[_Read], earlier: Mapping[str, int | None] | None) -> dict[str, Any] | None:
    usages = [read.usage for read in reads if read.usage]
    usages += [Usage(**earlier)] if earlier else []
    return _counts(sum(usages[1:], start=usages[0])) if usages else None


def _total_cost(done: Done, reads: Iterable[_Read], earlier: float | None) -> float | None:
    """What all calls cost, as it was known when they ended, else as their answers say."""
    reported = [read.cost_usd for read in reads if read.cost_usd is not None]
    costs = reported if done.cost_usd is None else [done.cost_usd]
    costs += [earlier] if earlier is not None else []
    return sum(costs) if costs else None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


EARLIER_COLUMNS = ["attempts", "usage", "cost_usd"]
"""What `earlier_askings` needs of a failed row."""


def earlier_askings(failed: Mapping[str, Any]) -> dict[str, Any]:
    """What a row that is asked again has taken so far, for `Done.earlier`: from its failed result."""
    attempts = failed["attempts"] or []
    return {
        "attempts": [{**attempt, "started_at": attempt["started_at"].timestamp()} for attempt in attempts],
        "usage": failed["usage"],
        "cost_usd": failed["cost_usd"],
    }


def result_table(histories: Sequence[History]) -> pa.Table:
    """The results of finished tasks as Arrow, in the order given."""
    rows = [result_values(history) for history in histories]
    arrays = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in RESULT_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=RESULT_SCHEMA)
