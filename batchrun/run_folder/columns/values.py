"""The values of the results' columns, from the records of finished tasks: column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add, attrgetter
from typing import Any, TypeAlias

import pyarrow as pa

from batchrun import codec
from batchrun.chat.response.completion import Choice, Completion, ErrorInside, NoAnswer, read_completion
from batchrun.chat.response.usage import NO_BILL
from batchrun.outcome import Completed, Error, Exchange, NoResponse, Response, Usage
from batchrun.run_folder.columns.arrays import list_array, struct_array, struct_array_of_rows
from batchrun.run_folder.columns.choice_columns import CHOICES, PROMPT_LOGPROBS, choice_arrays
from batchrun.run_folder.columns.columns import ATTEMPT, ATTEMPTS, ERROR, RESULT_SCHEMA, USAGE
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.records import REQUEST_ID_HEADERS, Answered, Done, Sent
from batchrun.value import value

_Read: TypeAlias = Completion | ErrorInside | NoAnswer
"""A 2xx answer: each kind says what the call took."""

_NOTHING = Completion(
    id=None,
    model=None,
    system_fingerprint=None,
    choices=(Choice(None, None, None, None, (), None, ()),),
    bill=NO_BILL,
    repaired=False,
)
"""Stands for the answer of a row that has none."""


@value(frozen=True, slots=True)
class _Row:
    """A finished task, its answers read."""

    done: Done
    reading: Mapping[str, Any]
    """What the job made of the answer (`Done.reading`)."""
    completion: Completion
    sent: Sent | None
    """The call that decided the row, or else the last one."""
    answered: Answered | None
    reads: Sequence[_Read]
    attempts: Sequence[_Attempt]


_Attempt: TypeAlias = tuple[Any, ...]
"""The members of ATTEMPT, `usage` as Usage."""


def result_table(histories: Sequence[History]) -> pa.Table:
    """The results of finished tasks as Arrow, in the order given."""
    rows = [_row(history) for history in histories]
    columns = {**_identity(rows), **_outcomes(rows), **_answers(rows), **_calls(rows), **_costs(rows)}
    arrays = [
        column if isinstance(column := columns[f.name], pa.Array) else pa.array(column, f.type)
        for f in RESULT_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=RESULT_SCHEMA)


def _row(history: History) -> _Row:
    done, sent = history.done, history.sent
    assert done is not None, "only finished tasks have results"
    reads = {call: _read(answered.exchange) for call, answered in history.answered.items()}
    attempts = [
        _attempt(sent[call], history.answered.get(call), reads.get(call), done) for call in sorted(sent)
    ]
    if done.earlier:
        attempts = [*map(_earlier_attempt, done.earlier.get("attempts") or ()), *attempts]
    decided = done.outcome.call
    read = None if decided is None else reads.get(decided)
    told = max(sent, default=-1) if decided is None else decided
    return _Row(
        done,
        done.reading or {},
        read if isinstance(read, Completion) else _NOTHING,
        sent.get(told),
        history.answered.get(told) if told in sent else None,
        [read for read in reads.values() if read is not None],
        attempts,
    )


def _read(exchange: Exchange) -> _Read | None:
    if not isinstance(exchange, Response) or not 200 <= exchange.status < 300:
        return None
    return read_completion(exchange.body)


def _attempt(sent: Sent, answered: Answered | None, read: _Read | None, done: Done) -> _Attempt:
    exchange = answered.exchange if answered else None
    response = exchange if isinstance(exchange, Response) else None
    return (
        sent.model,
        sent.endpoint,
        _micros(sent.at),
        exchange.latency if exchange else None,
        _status(response.status) if response else None,
        done.errors[sent.call] if sent.call < len(done.errors) else None,
        request_id(response.headers) if response else None,
        read.bill.usage if read else None,
        exchange.sent if isinstance(exchange, NoResponse) else True,
        _encodable(sent.batch) or None,
    )


def _earlier_attempt(attempt: Mapping[str, Any]) -> _Attempt:
    """One of a task that failed before, as `earlier_askings` spells it."""
    values = {**attempt, "started_at": _micros(attempt["started_at"]), "usage": _usage(attempt.get("usage"))}
    return tuple(values.get(field.name) for field in ATTEMPT)


def _usage(counts: Mapping[str, int | None] | None) -> Usage | None:
    return Usage(**counts) if counts else None


def _identity(rows: Sequence[_Row]) -> dict[str, Any]:
    return {
        "row_index": [row.done.row for row in rows],
        "row_id": [_encodable(row.done.row_id) for row in rows],
        "stale": [False] * len(rows),
        "duplicate_of": [None] * len(rows),
        "request_hash": [row.done.request_hash for row in rows],
    }


def _outcomes(rows: Sequence[_Row]) -> dict[str, Any]:
    outcomes = [row.done.outcome for row in rows]
    errors = [None if isinstance(outcome, Completed) else outcome.error for outcome in outcomes]
    return {
        "status": ["failed" if error else "ok" for error in errors],
        "error_type": [error and error.type for error in errors],
        "error": struct_array_of_rows([_error_members(error) if error else None for error in errors], ERROR),
        "model_index": [row.done.model_index for row in rows],
        "finished_at": [_micros(row.done.at) for row in rows],
    }


def _error_members(error: Error) -> tuple[Any, ...]:
    return error.type, _encodable(error.code), _status(error.http_status), _encodable(error.message)


def _status(status: int | None) -> int | None:
    """As its column can hold it: a batch's line may have told any number."""
    return None if status is None else max(-(2**31), min(int(status), 2**31 - 1))


def _encodable(text: str | None) -> str | None:
    """As Arrow can carry it: a server's or a row's text may hold a lone surrogate."""
    return None if text is None else codec.scrubbed(text)


def _answers(rows: Sequence[_Row]) -> dict[str, Any]:
    """What the answers say, and what the job made of them."""
    completions, readings = [row.completion for row in rows], [row.reading for row in rows]
    return {
        **choice_arrays(
            [completion.choices[0] for completion in completions],
            [reading.get("audio_format") for reading in readings],
            [reading.get("tool_arguments") or () for reading in readings],
        ),
        "repaired": [row.completion.repaired or bool(row.reading.get("repaired")) for row in rows],
        "parsed": [_json(reading["parsed"]) if "parsed" in reading else None for reading in readings],
        "confidence": [reading.get("confidence") for reading in readings],
        "probabilities": [_json_or_null(reading.get("probabilities")) for reading in readings],
        "messages": [_json_or_null(reading.get("transcript")) for reading in readings],
        "choices": _several(rows),
        "prompt_logprobs": pa.array([found.prompt_logprobs for found in completions], PROMPT_LOGPROBS),
        "response_model": [found.model for found in completions],
        "response_id": [found.id for found in completions],
        "system_fingerprint": [found.system_fingerprint for found in completions],
        "service_tier": [found.bill.service_tier for found in completions],
    }


def _several(rows: Sequence[_Row]) -> pa.Array:
    """All choices, where there are several."""
    listed = [_listed(row) if len(row.completion.choices) > 1 else None for row in rows]
    return list_array(listed, _choices, CHOICES)


def _listed(row: _Row) -> list[tuple[Choice, str | None, str | None, Sequence[str | None]]]:
    """Each choice with its `parsed`, and what else of the reading is about it: the arguments of tool calls
    are those of the first alone."""
    choices, reading = row.completion.choices, row.reading
    parsed = [*(reading.get("choices_parsed") or ()), *[None] * len(choices)]
    arguments = [reading.get("tool_arguments") or (), *[()] * len(choices)]
    return [
        (choice, _json_or_null(parsed[place]), reading.get("audio_format"), arguments[place])
        for place, choice in enumerate(choices)
    ]


def _choices(listed: list[tuple[Choice, str | None, str | None, Sequence[str | None]]]) -> pa.Array:
    choices, parsed, formats, arguments = zip(*listed, strict=True)
    columns = {
        "index": pa.array([choice.index for choice in choices], pa.int64()),
        "parsed": pa.array(parsed, pa.string()),
        **choice_arrays(choices, formats, arguments),
    }
    wanted = CHOICES.value_type
    return struct_array([columns[field.name] for field in wanted], wanted)


def _json(document: Any) -> str:
    return codec.dumps(document).decode()


def _json_or_null(document: Any) -> str | None:
    return None if document is None else _json(document)


def _calls(rows: Sequence[_Row]) -> dict[str, Any]:
    """All calls, and what the results say of the one that decided the row."""
    exchanges = [row.answered.exchange if row.answered else None for row in rows]
    return {
        "model": [row.sent and row.sent.model for row in rows],
        "endpoint": [row.sent and row.sent.endpoint for row in rows],
        "batch_id": [(row.sent and _encodable(row.sent.batch)) or None for row in rows],
        "latency": [exchange and exchange.latency for exchange in exchanges],
        "ttft": [exchange.ttft if isinstance(exchange, Response) else None for exchange in exchanges],
        "attempts": list_array([row.attempts for row in rows], _attempts, ATTEMPTS),
        "started_at": [row.attempts[0][_STARTED_AT] if row.attempts else None for row in rows],
    }


_STARTED_AT = ATTEMPT.get_field_index("started_at")


def _attempts(attempts: list[_Attempt]) -> pa.Array:
    columns = zip(*attempts, strict=True)
    arrays = [
        _usages(column) if field.name == "usage" else pa.array(column, field.type)
        for column, field in zip(columns, ATTEMPT, strict=True)
    ]
    return struct_array(arrays, ATTEMPT)


_counts = attrgetter(*Usage.__dataclass_fields__)


def _usages(usages: Iterable[Usage | None]) -> pa.Array:
    return struct_array_of_rows([_counts(usage) if usage else None for usage in usages], USAGE)


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id by which the provider's support finds a call."""
    for name in REQUEST_ID_HEADERS:
        if name in headers:
            return _encodable(headers[name])
    return None


def _micros(seconds: float) -> int:
    """Microseconds, rounded as Python rounds times: two that were equal stay equal."""
    whole = int(seconds)
    return whole * 1_000_000 + round((seconds - whole) * 1e6)


def _costs(rows: Sequence[_Row]) -> dict[str, Any]:
    """What all calls of a row took."""
    return {"usage": _usages(map(_total_usage, rows)), "cost_usd": list(map(_total_cost, rows))}


def _total_usage(row: _Row) -> Usage | None:
    usages = [read.bill.usage for read in row.reads if read.bill.usage]
    if row.done.earlier and (earlier := _usage(row.done.earlier.get("usage"))):
        usages.append(earlier)
    return reduce(add, usages) if usages else None


def _total_cost(row: _Row) -> float | None:
    """What all calls cost, as it was known when they ended, else as their answers say."""
    done = row.done
    earlier = done.earlier.get("cost_usd") if done.earlier else None
    if done.cost_usd is not None:
        return done.cost_usd if earlier is None else done.cost_usd + earlier
    costs = [read.bill.cost_usd for read in row.reads if read.bill.cost_usd is not None]
    costs += [earlier] if earlier is not None else []
    return sum(costs) if costs else None
