"""What a request for stored completions came to, as an error that says what to do."""

from __future__ import annotations

import json
from typing import Any

from batchrun import codec
from batchrun.errors import EndpointError, UsageError
from batchrun.outcome import Error, Exchange, Response
from batchrun.stored.asking import error_of
from batchrun.stored.place import Place

_NOTHING = 404
_PASSING = frozenset({"rate_limit", "server", "connection", "timeout", "quota"})


def is_missing(exchange: Exchange) -> bool:
    """Whether there is nothing at the path."""
    return isinstance(exchange, Response) and exchange.status == _NOTHING


def document_of(exchange: Exchange, place: Place, doing: str) -> dict[str, Any]:
    """The document in an answer. Raises EndpointError where there is none; `doing` is what was asked for."""
    error = error_of(exchange)
    if error is not None:
        raise refused(error, place, doing)
    assert isinstance(exchange, Response)
    try:
        found = _without_surrogates(codec.loads(exchange.body))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise not_understood(place, doing, "the answer is no JSON object")
    return found


def _without_surrogates(found: Any) -> Any:
    """Neither a terminal, an address nor a Parquet file can hold half a character."""
    spelled = codec.dumps(found)
    if b"\\ud" not in spelled:  # only such text is written with escapes
        return found
    text = json.dumps(found, ensure_ascii=False)
    return codec.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode())


def refused(error: Error, place: Place, doing: str) -> EndpointError:
    """The error for a request that was refused, or that nothing came of."""
    status = f" (status {error.http_status})" if error.http_status else ""
    said = f"cannot {doing}: {place.name} says: {error.message}{status}"
    if error.type == "auth":
        return EndpointError(
            f"{place.name} refuses the key: {error.message}{status}", hint=place.key_hint, exit_code=4
        )
    if error.http_status is None:
        return EndpointError(
            f"cannot {doing}: {error.message}",
            hint="Check the network and the endpoint's base URL, then run the same command again.",
        )
    if error.type in _PASSING:
        return EndpointError(said, hint="Run the same command again later.")
    return EndpointError(
        said,
        hint="Correct what the endpoint names; `batchrun stored --help` has the commands.",
        exit_code=UsageError.exit_code,
    )


def without_stored(place: Place, doing: str, exchange: Exchange) -> EndpointError:
    """The error for an endpoint that keeps nothing, or does not say what."""
    status = exchange.status if isinstance(exchange, Response) else None
    return EndpointError(
        f"cannot {doing}: {place.name} ({place.endpoint.base_url}) has no stored completions, "
        f"it answers with status {status}",
        hint="OpenAI keeps those that are sent with `request: {store: true}`. Name one that has them with "
        "--endpoint; the answers of a run are in its own results: `batchrun show`, `batchrun export`.",
        exit_code=UsageError.exit_code,
    )


def no_such(place: Place, completion_id: str, exchange: Exchange) -> EndpointError:
    """The error for an id that the endpoint does not know."""
    error = error_of(exchange)
    return EndpointError(
        f"{place.name} has no stored completion {completion_id}: {error.message if error else ''}",
        hint="`batchrun stored list` says which there are: only those that were sent with `store: true` are "
        "kept, and a new one may take some seconds to appear.",
        exit_code=UsageError.exit_code,
    )


def not_understood(place: Place, doing: str, why: str) -> EndpointError:
    """The error for an answer that is not as the API says."""
    return EndpointError(
        f"cannot {doing}: {place.name} answers otherwise than OpenAI's API: {why}",
        hint="Name an endpoint that has stored completions with --endpoint.",
        exit_code=UsageError.exit_code,
    )


def check_id(completion_id: str) -> str:
    """The id, which becomes a part of a path. Raises UsageError for what would be another path."""
    if not completion_id.strip(". ") or not completion_id.isprintable():
        raise UsageError(
            f"{completion_id!r} is no id of a completion",
            hint="`batchrun stored list` says which there are.",
        )
    return completion_id
