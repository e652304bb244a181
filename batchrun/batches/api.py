"""Files and batches of one endpoint (OpenAI: Files API, Batch API; others have copied both)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from batchrun import codec
from batchrun.batches.lines import URL
from batchrun.chat.stamps import BATCH
from batchrun.client import Form, Resources
from batchrun.clock import Clock
from batchrun.job.presets import CUSTOM, Uploads
from batchrun.outcome import Error, Exchange, NoResponse, Response
from batchrun.policy.decision import RetryRules, backoff
from batchrun.policy.error_response import NO_RESOURCE, classify
from batchrun.policy.retry_after import retry_after
from batchrun.run_folder.checkpoint.with_providers import OVER
from batchrun.value import value

_LACKING = frozenset({404, 405, 501})
_MAY_PASS = frozenset({408, 425, 429})
_PAGE = 100
_NOTHING = Response(200, {}, b"", 0.0)


class ApiError(Exception):
    """The provider would not, or could not be asked; `error` says why.

    `unsure`: what was asked for may have been done all the same. `lacking`: there is nothing of that name or
    kind there.
    """

    def __init__(self, error: Error, exchange: Exchange, *, unsure: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.exchange = exchange
        self.unsure = unsure
        self.lacking = isinstance(exchange, Response) and exchange.status in _LACKING

    @property
    def may_pass(self) -> bool:
        """Whether another time may go better."""
        status = self.exchange.status if isinstance(self.exchange, Response) else 0
        return not 400 <= status < 500 or status in _MAY_PASS


@value(frozen=True, slots=True)
class ProviderBatch:
    """What a provider says of a batch; times in seconds since the epoch."""

    id: str
    status: str
    output_file: str | None = None
    error_file: str | None = None
    done: int = 0
    """Requests that are answered, or have failed."""
    failed: int = 0
    errors: tuple[Mapping[str, Any], ...] = ()
    """Why it has failed as a whole: `code`, `message`, `line`."""
    created_at: float | None = None
    ended_at: float | None = None
    input_file: str | None = None
    stamp: str | None = None
    """The name that it was created with."""

    def is_of(self, name: str, file_id: str) -> bool:
        """Whether it was created with `name` or of that file, as far as its provider tells either."""
        told = (self.stamp, self.input_file)
        return told == (None, None) or self.stamp == name or self.input_file == file_id

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in OVER


class BatchApi:
    """Asks one endpoint for files and batches.

    What costs nothing to ask again is asked again as `retry` says; `jitter` gives numbers in [0, 1). Raises
    ApiError.
    """

    def __init__(
        self,
        resources: Resources,
        retry: RetryRules,
        clock: Clock,
        jitter: Callable[[], float],
        uploads: Uploads = CUSTOM.uploads,
    ) -> None:
        self._resources = resources
        self._uploads = uploads
        self._retry = retry
        self._clock = clock
        self._jitter = jitter

    async def upload(self, path: Path, name: str) -> str:
        """Upload a file of requests; its id there. Raises OSError where it cannot be read."""
        says = self._uploads
        fields = {"purpose": says.purpose, **({"file_name": name} if says.says_name else {})}
        form = Form(fields, path, name, "application/jsonl")
        return text_of(await self._steadily(partial(self._resources.upload, says.path, form)), "id")

    async def create(self, file_id: str, window: str, metadata: Mapping[str, str]) -> ProviderBatch:
        """Begin a batch: asked once, for a second time would make a second one."""
        asked = {
            "input_file_id": file_id,
            "endpoint": URL,
            "completion_window": window,
            "metadata": dict(metadata),
        }
        return _told(_document(await self._resources.post("/batches", asked)))

    async def get(self, batch_id: str) -> ProviderBatch:
        """How a batch stands."""
        return _told(await self._steadily(partial(self._resources.get, f"/batches/{batch_id}")))

    async def cancel(self, batch_id: str) -> None:
        """Have a batch work on no further request. One that is over stays what it is."""
        with suppress(ApiError):  # the next look at it tells
            await self._steadily(partial(self._resources.post, f"/batches/{batch_id}/cancel"))

    async def find(self, name: str, file_id: str) -> ProviderBatch | None:
        """The batch that was stamped with `name`, or made of that file; None where there is none.

        All are looked at: not every provider begins with the newest. Raises ApiError, `lacking` where batches
        are not listed.
        """
        async for document in self._all("/batches"):
            stamped = _stamp(document)
            if stamped == name or (stamped is None and document.get("input_file_id") == file_id):
                return _told(document)
        return None

    async def download(self, file_id: str, to: Path) -> None:
        """Fetch a file. Raises OSError where it cannot be written."""
        await self._steadily(partial(self._resources.download, f"/files/{file_id}/content", to), is_file=True)

    async def delete(self, file_id: str) -> None:
        """Remove a file; one that cannot be removed stays."""
        with suppress(ApiError):
            _document(await self._resources.delete(f"/files/{file_id}"))

    async def _all(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Every item of a list."""
        query: dict[str, str | int] = {"limit": _PAGE}
        seen: set[str] = set()
        while True:
            page = await self._steadily(partial(self._resources.get, path, query), is_list=True)
            items = [item for item in page.get("data") or () if isinstance(item, dict)]
            for item in items:
                yield item
            if not page.get("has_more") or not items:
                return
            after = str(page.get("last_id") or items[-1].get("id"))
            if after in seen:
                raise ApiError(Error("invalid_response", "its pages go round in a ring"), _NOTHING)
            seen.add(after)
            query = {"limit": _PAGE, "after": after}

    async def _steadily(
        self, ask: Callable[[], Awaitable[Exchange]], *, is_file: bool = False, is_list: bool = False
    ) -> dict[str, Any]:
        """Ask, and ask again for what may pass; the document that comes, none where it `is_file`."""
        for attempt in count(1):
            exchange = await ask()
            try:
                return {} if is_file and _is_good(exchange) else _document(exchange, is_list=is_list)
            except ApiError as error:
                failure = error
            if (wait := self.wait(failure, attempt)) is None:
                break
            await self._clock.sleep(wait)
        raise failure

    def wait(self, failure: ApiError, attempt: int) -> float | None:
        """Seconds until it is worth asking again after so many attempts; None where it is not."""
        wait = self.pause(attempt)
        if wait is None or not failure.may_pass:
            return None
        if isinstance(failure.exchange, Response):
            wait = retry_after(failure.exchange.headers, self._clock.wall()) or wait
        return wait if wait <= self._retry.max_wait else None

    def pause(self, attempt: int) -> float | None:
        """Seconds between two attempts where the provider says nothing of it; None after the last."""
        return self._jitter() * backoff(attempt, self._retry) if attempt < self._retry.max_attempts else None


def _document(exchange: Exchange, *, is_list: bool = False) -> dict[str, Any]:
    """What a good answer holds; some providers give a list as it is. Raises ApiError for any other."""
    if isinstance(exchange, NoResponse):
        raise ApiError(Error(exchange.type, exchange.message), exchange, unsure=exchange.sent)
    if not _is_good(exchange):
        unsure = exchange.status >= 500 or exchange.status == 408
        raise ApiError(classify(exchange, NO_RESOURCE), exchange, unsure=unsure)
    with suppress(ValueError):
        document = codec.loads(exchange.body)
        if isinstance(document, dict):
            return document
        if is_list and isinstance(document, list | None):
            return {"data": document}
    raise ApiError(Error("invalid_response", "the answer is no JSON object"), exchange, unsure=True)


def _is_good(exchange: Exchange) -> bool:
    return isinstance(exchange, Response) and 200 <= exchange.status < 300


def _told(document: Mapping[str, Any]) -> ProviderBatch:
    """A batch as its provider tells of it; Together wraps a new one in `job`."""
    if isinstance(document.get("job"), dict):
        document = document["job"]
    counts = document.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    errors = document.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else errors
    ended = (document.get(f"{state}_at") for state in OVER)
    return ProviderBatch(
        id=text_of(document, "id"),
        status=text_of(document, "status").lower(),
        output_file=document.get("output_file_id") or None,
        error_file=document.get("error_file_id") or None,
        done=sum(_number(counts.get(name)) for name in ("completed", "failed")),
        failed=_number(counts.get("failed")),
        errors=tuple(error for error in listed or () if isinstance(error, dict)),
        created_at=_moment(document.get("created_at")),
        ended_at=next(filter(None, map(_moment, ended)), None),
        input_file=document.get("input_file_id") or None,
        stamp=_stamp(document),
    )


def _stamp(document: Mapping[str, Any]) -> str | None:
    """The name that a batch was created with; None where nobody has given it one."""
    metadata = document.get("metadata")
    return metadata.get(BATCH) if isinstance(metadata, dict) else None


def text_of(document: Mapping[str, Any], name: str) -> str:
    """A member of an answer that must be there."""
    found = document.get(name)
    if isinstance(found, str) and found:
        return found
    raise ApiError(Error("invalid_response", f"the answer has no `{name}`"), _NOTHING, unsure=True)


def _moment(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
