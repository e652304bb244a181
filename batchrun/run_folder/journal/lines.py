"""The form of a record on disk: one line each, with a checksum.

A line is the CRC-32 of its JSON text as eight hexadecimal digits, a space, the JSON text and a
newline. A line proves itself: a torn or damaged one is known, and costs no other.
"""

from __future__ import annotations

import base64
import zlib
from functools import lru_cache
from typing import Any

from batchrun import codec
from batchrun.outcome import Completed, Error, Exchange, Failed, NoResponse, Outcome, Response
from batchrun.run_folder.journal.records import Admitted, Answered, Continues, Done, Header, Ran, Record, Sent

_KEPT = ("retry", "ratelimit", "request-id", "generation-id")
"""An answer's record keeps the headers whose names hold one of these."""


class DamagedRecordError(ValueError):
    """A line that is no whole record."""


class UnknownRecordError(ValueError):
    """A whole record of a kind that this version does not know, or without a member that it needs."""


def encode(record: Record) -> bytes:
    """The record's line, newline included."""
    text = codec.dumps(_to_json(record))
    return b"%08x %b\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> Record:
    """Read one line, without its newline.

    Raises DamagedRecordError when it is no whole record, UnknownRecordError when it is one, but none of ours.
    """
    text = line[9:]
    if len(line) < 10 or line[8:9] != b" " or b"%08x" % zlib.crc32(text) != line[:8]:
        raise DamagedRecordError(f"checksum mismatch in a record of {len(line)} bytes")
    document = codec.loads(text)
    try:
        return _from_json(document)
    except (LookupError, TypeError, ValueError) as error:
        raise UnknownRecordError(f"a record that this version cannot read: {_names(document)}") from error


def _names(document: Any) -> str:
    """The members of a record, without what they hold."""
    return ", ".join(document) if isinstance(document, dict) else type(document).__name__


def _to_json(record: Record) -> dict[str, Any]:
    match record:
        case Sent():
            return _sent_to_json(record)
        case Answered():
            return _answered_to_json(record)
        case Done():
            return _done_to_json(record)
        case Ran():
            return {
                "ran": record.task,
                "step": record.step,
                "calls": record.calls,
                "results": record.results,
            }
        case Continues():
            return {
                "continues": record.task,
                "again": record.again,
                "earlier": record.earlier,
                "first": record.first,
            }
        case Admitted():
            return {"admitted": record.state}
        case Header():
            return {"journal": record.version}


def _sent_to_json(record: Sent) -> dict[str, Any]:
    document = {
        "sent": record.task,
        "call": record.call,
        "row": record.row,
        "key": f"{record.key:016x}",
        "hash": record.request_hash,
        "model": record.model,
        "endpoint": record.endpoint,
        "index": record.model_index,
        "at": record.at,
        "tokens": record.tokens,
        "bound": [record.bound_usd, record.bound_tokens],
    }
    if record.step:
        document["step"], document["ask"] = record.step, record.step_digest
    if record.named:
        document["named"] = record.named
    if record.batch:
        document["batch"] = record.batch
    return document


def _answered_to_json(record: Answered) -> dict[str, Any]:
    document: dict[str, Any] = {"answer": record.task, "call": record.call, "at": record.at}
    exchange = record.exchange
    if isinstance(exchange, NoResponse):
        document["error"], document["message"] = exchange.type, exchange.message
        document["was_sent"], document["latency"] = exchange.sent, exchange.latency
        return document
    document["status"] = exchange.status
    document["headers"] = {name: text for name, text in exchange.headers.items() if _is_kept(name)}
    document["latency"] = exchange.latency
    if exchange.ttft is not None:
        document["ttft"] = exchange.ttft
    try:
        document["body"] = exchange.body.decode()
    except UnicodeDecodeError:
        document["body64"] = base64.b64encode(exchange.body).decode()
    return document


@lru_cache(maxsize=256)
def _is_kept(header: str) -> bool:
    return any(part in header for part in _KEPT)


def _done_to_json(record: Done) -> dict[str, Any]:
    outcome = record.outcome
    document: dict[str, Any] = {
        "done": record.task,
        "row": record.row,
        "id": record.row_id,
        "key": f"{record.key:016x}",
        "hash": record.request_hash,
        "at": record.at,
        "index": record.model_index,
    }
    if isinstance(outcome, Failed):
        error = outcome.error
        document["failed"] = [error.type, error.message, error.code, error.http_status]
    document["answered_by"], document["errors"] = outcome.call, record.errors
    if record.earlier:
        document["earlier"] = record.earlier
    if record.reading:
        document["reading"] = record.reading
    if record.cost_usd is not None:
        document["cost_usd"] = record.cost_usd
    if record.spend:
        document["spend"] = record.spend
    return document


def _from_json(line: dict[str, Any]) -> Record:
    if "sent" in line:
        bound = line.get("bound", (None, None))
        return Sent(
            line["sent"],
            line["call"],
            line["row"],
            int(line["key"], 16),
            line["hash"],
            line["model"],
            line["endpoint"],
            line["index"],
            line["at"],
            line["tokens"],
            bound[0],
            bound[1],
            line.get("step", 0),
            line.get("ask", ""),
            line.get("named", ""),
            line.get("batch", ""),
        )
    if "ran" in line:
        return Ran(line["ran"], line["step"], line.get("calls", ""), tuple(line["results"]))
    if "continues" in line:
        return Continues(line["continues"], tuple(line["again"]), line["earlier"], line.get("first", 0))
    if "answer" in line:
        return Answered(line["answer"], line["call"], line["at"], _exchange(line))
    if "done" in line:
        return Done(
            line["done"],
            line["row"],
            line["id"],
            int(line["key"], 16),
            line["hash"],
            line["at"],
            line["index"],
            _outcome(line),
            tuple(line["errors"]),
            line.get("earlier"),
            line.get("reading"),
            line.get("cost_usd"),
            line.get("spend"),
        )
    if "admitted" in line:
        return Admitted(line["admitted"])
    return Header(line["journal"])


def _exchange(line: dict[str, Any]) -> Exchange:
    if "status" not in line:
        return NoResponse(line["error"], line["message"], line["was_sent"], line["latency"])
    body = line["body"].encode() if "body" in line else base64.b64decode(line["body64"])
    return Response(line["status"], line["headers"], body, line["latency"], line.get("ttft"))


def _outcome(line: dict[str, Any]) -> Outcome:
    if "failed" not in line:
        return Completed(line["answered_by"])
    kind, message, code, http_status = line["failed"]
    return Failed(Error(kind, message, code, http_status), line["answered_by"])
