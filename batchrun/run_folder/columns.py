"""The results' columns beside the input's: their types, and their values from a row's records.

The same columns with the same types are in every part, however many nulls a part holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeGuard

import pyarrow as pa

from batchrun import codec
from batchrun.chat.completion import Choice, Completion, read_completion
from batchrun.outcome import Completed, Reply, Unanswered, Usage
from batchrun.run_folder.history import History
from batchrun.run_folder.records import REQUEST_ID_HEADERS, Answered, Done

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

_TEXT = pa.string()
_TIME = pa.timestamp("us", tz="UTC")
_TOKEN = [("token", _TEXT), ("logprob", pa.float64()), ("bytes", pa.list_(pa.int64()))]
_LOGPROBS = pa.list_(pa.struct([*_TOKEN, ("top_logprobs", pa.list_(pa.struct(_TOKEN)))]))
_TOOL_CALLS = pa.list_(
    pa.struct([(name, _TEXT) for name in ("id", "type", "name", "arguments", "input", "parsed_arguments")])
)
_ANNOTATIONS = pa.list_(
    pa.struct(
        [
            ("type", _TEXT),
            ("url", _TEXT),
            ("title", _TEXT),
            ("start_index", pa.int64()),
            ("end_index", pa.int64()),
        ]
    )
)
_ANSWER = [
    ("completion", _TEXT),
    ("refusal", _TEXT),
    ("reasoning", _TEXT),
    ("finish_reason", _TEXT),
    ("tool_calls", _TOOL_CALLS),
    ("logprobs", _LOGPROBS),
]
_USAGE = pa.struct([(name, pa.int64()) for name in Usage.__dataclass_fields__])
_ATTEMPTS = pa.list_(
    pa.struct(
        [
            ("model", _TEXT),
            ("endpoint", _TEXT),
            ("started_at", _TIME),
            ("latency", pa.float64()),
            ("http_status", pa.int32()),
            ("error_type", _TEXT),
            ("request_id", _TEXT),
            ("usage", _USAGE),
            ("sent", pa.bool_()),
        ]
    )
)

RESULT_SCHEMA = pa.schema(
    [
        ("row_index", pa.int64()),
        ("row_id", _TEXT),
        ("status", _TEXT),
        ("repaired", pa.bool_()),
        ("stale", pa.bool_()),
        *_ANSWER,
        ("choices", pa.list_(pa.struct(_ANSWER))),
        ("annotations", _ANNOTATIONS),
        ("usage", _USAGE),
        ("cost_usd", pa.float64()),
        ("model", _TEXT),
        ("response_model", _TEXT),
        ("endpoint", _TEXT),
        ("model_index", pa.int32()),
        ("error_type", _TEXT),
        (
            "error",
            pa.struct([("type", _TEXT), ("code", _TEXT), ("http_status", pa.int32()), ("message", _TEXT)]),
        ),
        ("attempts", _ATTEMPTS),
        ("latency", pa.float64()),
        ("ttft", pa.float64()),
        ("started_at", _TIME),
        ("finished_at", _TIME),
        ("response_id", _TEXT),
        ("system_fingerprint", _TEXT),
        ("service_tier", _TEXT),
        ("request_hash", _TEXT),
    ]
)
"""Every column of ours, in the results' order; input columns stand after `row_id`."""


def result_values(history: History) -> dict[str, Any]:
    """The values of all columns of RESULT_SCHEMA for one finished task."""
    done = history.done
    assert done is not None, "only finished tasks have results"
    completions = {call: _completion(answered) for call, answered in history.answered.items()}
    earlier = done.earlier or {}
    attempts = [
        *(
            {**attempt, "started_at": _time(attempt["started_at"])}
            for attempt in earlier.get("attempts") or ()
        ),
        *(_attempt(history, call, completions.get(call), done) for call in sorted(history.sent)),
    ]
    call = done.outcome.call
    completion = completions.get(call) if call is not None else None
    return {
        "row_index": done.row,
        "row_id": _encodable(done.row_id),
        "repaired": completion.repaired if completion else False,
        "stale": False,
        **_outcome_values(done),
        **_completion_values(completion),
        **_call_values(history, call),
        "usage": _total_usage(completions.values(), earlier.get("usage")),
        "cost_usd": _total_cost(completions.values(), earlier.get("cost_usd")),
        "model_index": done.model_index,
        "attempts": attempts,
        "ttft": None,
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


def _completion(answered: Answered) -> Completion | None:
    exchange = answered.exchange
    if not isinstance(exchange, Reply) or not 200 <= exchange.status < 300:
        return None
    completion = read_completion(exchange.body)
    return completion if isinstance(completion, Completion) else None


def _completion_values(completion: Completion | None) -> dict[str, Any]:
    if completion is None:
        return {}
    first = completion.choices[0]
    several = len(completion.choices) > 1
    return {
        **_choice_values(first),
        "choices": [_choice_values(choice) for choice in completion.choices] if several else None,
        "annotations": [_annotation(item) for item in first.annotations] or None,
        "response_model": completion.model,
        "response_id": completion.id,
        "system_fingerprint": completion.system_fingerprint,
        "service_tier": completion.service_tier,
    }


def _choice_values(choice: Choice) -> dict[str, Any]:
    return {
        "completion": choice.content,
        "refusal": choice.refusal,
        "reasoning": choice.reasoning,
        "finish_reason": choice.finish_reason,
        "tool_calls": [
            asdict(call) | {"parsed_arguments": _parsed(call.arguments)} for call in choice.tool_calls
        ]
        or None,
        "logprobs": None
        if choice.logprobs is None
        else [
            _token(item) | {"top_logprobs": [_token(other) for other in _items(item.get("top_logprobs"))]}
            for item in choice.logprobs
        ],
    }


def _parsed(arguments: str | None) -> str | None:
    """Tool arguments as compact JSON, where they are JSON."""
    try:
        return codec.dumps(codec.loads(arguments.encode())).decode() if arguments else None
    except ValueError:
        return None


def _token(item: Mapping[str, Any]) -> dict[str, Any]:
    logprob, token, octets = item.get("logprob"), item.get("token"), item.get("bytes")
    return {
        "token": token if isinstance(token, str) else None,
        "logprob": float(logprob) if isinstance(logprob, float) or _is_integer(logprob) else None,
        "bytes": octets if isinstance(octets, list) and all(map(_is_integer, octets)) else None,
    }


def _annotation(item: Mapping[str, Any]) -> dict[str, Any]:
    citation = item.get("url_citation")
    citation = citation if isinstance(citation, dict) else {}
    return {
        "type": item.get("type") if isinstance(item.get("type"), str) else None,
        **{key: value if isinstance(value := citation.get(key), str) else None for key in ("url", "title")},
        **{
            key: value if _is_integer(value := citation.get(key)) else None
            for key in ("start_index", "end_index")
        },
    }


def _is_integer(value: Any) -> TypeGuard[int]:
    """Whether it is an integer that Arrow can hold."""
    return type(value) is int and -(2**63) <= value < 2**63


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


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
    }


def _attempt(history: History, call: int, completion: Completion | None, done: Done) -> dict[str, Any]:
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
        "usage": asdict(completion.usage) if completion and completion.usage else None,
        "sent": exchange.sent if isinstance(exchange, Unanswered) else True,
    }


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id by which the provider's support finds a call."""
    found = next((headers[name] for name in REQUEST_ID_HEADERS if name in headers), None)
    return None if found is None else _LONE_SURROGATE.sub("\ufffd", found)


def _total_usage(
    completions: Iterable[Completion | None], earlier: Mapping[str, int | None] | None
) -> dict[str, Any] | None:
    usages = [completion.usage for completion in completions if completion and completion.usage]
    usages += [Usage(**earlier)] if earlier else []
    return asdict(sum(usages[1:], start=usages[0])) if usages else None


def _total_cost(completions: Iterable[Completion | None], earlier: float | None) -> float | None:
    costs = [answer.cost_usd for answer in completions if answer and answer.cost_usd is not None]
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
