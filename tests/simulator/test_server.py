"""The simulator on a real socket: HTTP, limits, latency, faults, and what its ledger says of them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchrun import simulator
from batchrun.simulator import Running, SimulatorConfig, connection, read_ledger, serve
from batchrun.simulator.answers import refused
from batchrun.simulator.config import ConstantLatency
from batchrun.simulator.refusal import Refusal
from tests.simulator.playing import asked, eventually, play
from tests.simulator.wire import ask, body, connected, request
from tests.small_files import files_of_at_most

LARGE = body(n=128, logprobs=True, top_logprobs=20)
"""Answered with about 10 MB: more than the kernel takes at once."""


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


def test_a_client_that_is_not_ours_understands_the_answer() -> None:
    """httpx reads a completion with OpenAI's members, headers and ids."""

    async def scene(running: Running) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            answers = [
                await client.post(f"{running.base_url}/chat/completions", content=body()) for _ in range(2)
            ]
        first, second = (answer.raise_for_status().json() for answer in answers)
        assert first["id"].startswith("chatcmpl-")
        assert first["id"] != second["id"]
        assert first["choices"] == second["choices"]
        assert (first["object"], first["model"]) == ("chat.completion", "m-1")
        assert abs(first["created"] - time.time()) < 60
        assert first["system_fingerprint"].startswith("fp_")
        assert {answer.headers["x-request-id"] for answer in answers} == {
            "req_000000000001",
            "req_000000000002",
        }

    play(scene)


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("localhost", "localhost:80"),
        ("::1", "[::1]:80"),
    ],
)
def test_an_address_stands_in_its_url_as_the_standard_says(host: str, place: str) -> None:
    """An IPv6 address in brackets: its own colons would be taken for that of the port."""
    assert simulator.place(host, 80) == place


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_a_simulator_on_an_ipv6_address_is_reached_by_its_url() -> None:
    """Its base URL is one that clients read."""

    async def scene() -> None:
        async with serve(SimulatorConfig(), host="::1") as running, httpx.AsyncClient(trust_env=False) as to:
            assert running.base_url.startswith("http://[::1]:")
            assert (await to.post(f"{running.base_url}/chat/completions", content=body())).is_success

    asyncio.run(scene())


def test_a_stream_arrives_as_events() -> None:
    """stream: true is answered with server-sent events, which end in [DONE]."""
    answer = asked(body(stream=True, stream_options={"include_usage": True}))
    assert answer.headers["content-type"] == "text/event-stream"
    *events, done = answer.body.decode().removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    assert json.loads(events[-1].removeprefix("data: "))["usage"]["completion_tokens"] > 0


def test_models_are_listed() -> None:
    """GET /v1/models names the models that exist."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(b"GET /v1/models?limit=9 HTTP/1.1\r\nhost: x\r\n\r\n")
            assert [m["id"] for m in (await wire.answer()).data["data"]] == ["m-1", "m-2"]

    play(scene, models=["m-1", "m-2"])


def test_another_address_is_not_found(tmp_path: Path) -> None:
    """Any other path or method is a 404 with OpenAI's error object, and no call."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            for path in ("/v1/completions", "/chat/completions", "/v1/models"):
                await wire.send(request(b"{}", path=path))
                answer = await wire.answer()
                assert (answer.status, answer.error["type"]) == (404, "invalid_request_error")

    assert play(scene, tmp_path / "ledger.jsonl") == []


def test_a_connection_serves_many_requests(tmp_path: Path) -> None:
    """Keep-alive, and requests that are sent ahead are answered in order."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(b"".join(request(body(user=str(i), n=1 + i % 2)) for i in range(40)))
            sizes = [len((await wire.answer()).data["choices"]) for _ in range(40)]
            assert sizes == [1 + i % 2 for i in range(40)]

    assert len(play(scene, tmp_path / "ledger.jsonl")) == 40


def test_a_client_may_send_far_ahead() -> None:
    """Requests that come while earlier ones are answered wait their turn, however many there are."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            for i in range(30):
                await wire.send(request(body(n=1 + i % 3)))
                await asyncio.sleep(0.001)
            sizes = [len((await wire.answer()).data["choices"]) for _ in range(30)]
            assert sizes == [1 + i % 3 for i in range(30)]

    play(scene, latency={"kind": "constant", "seconds": 0.01})


def test_a_client_may_read_late() -> None:
    """An answer larger than the kernel's buffers waits for its reader, and the connection goes on."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(request(LARGE))
            await eventually(lambda: running.ledger.counts.billed == 1)
            await asyncio.sleep(0.02)
            assert len((await wire.answer()).data["choices"]) == 128
            assert (await wire.post(body())).status == 200

    play(scene)


def test_a_chunked_request_is_read() -> None:
    """A body may come in chunks of any size, RFC 9112 section 7.1, and in as many writes."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for byte in body():
                await wire.send(b"1\r\n%c\r\n" % byte)
            await wire.send(b"0\r\n\r\n")
            assert (await wire.answer()).status == 200

    play(scene)


def test_a_client_that_waits_for_a_go_ahead_gets_it() -> None:
    """`Expect: 100-continue` is answered before the body comes."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            content = body()
            await wire.send(request(content, expect="100-continue").removesuffix(content))
            assert (await wire.head())[0] == 100
            await wire.send(content)
            assert (await wire.answer()).status == 200

    play(scene)


def test_the_connection_closes_when_asked_to() -> None:
    """`Connection: close` is honoured and said."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            answer = await wire.post(body(), connection="close")
            assert answer.headers["connection"] == "close"
            assert await wire.reader.read() == b""

    play(scene)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_400(data: bytes) -> None:
    """A client that speaks something else gets an answer and loses its connection; others go on."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(data)
            assert (await wire.answer()).status == 400
        assert (await ask(running.base_url)).status == 200

    play(scene)


def test_a_body_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte too many is a 413; exactly the limit is read."""
    monkeypatch.setattr(connection, "MAX_BODY", len(body()))
    assert asked().status == 200
    assert asked(body() + b" ").status == 413


def test_a_large_body_is_taken() -> None:
    """A prompt of 5 MB is read and counted."""
    answer = asked(body(messages=[{"role": "user", "content": "word " * 1_000_000}]), context_window=10**8)
    assert answer.status == 200
    assert answer.data["usage"]["prompt_tokens"] > 1_000_000


def test_a_wrong_key_is_told_and_noted(tmp_path: Path) -> None:
    """A call with another bearer token is a 401, and the ledger shows it as such."""

    async def scene(running: Running) -> None:
        assert (await ask(running.base_url, authorization="Bearer sk-a")).error["code"] == "invalid_api_key"
        assert (await ask(running.base_url, authorization="Bearer sk-b")).status == 200

    calls = play(scene, tmp_path / "ledger.jsonl", api_key="sk-b")
    assert [call.api_key_ok for call in calls] == [False, True]
    assert b"sk-" not in (tmp_path / "ledger.jsonl").read_bytes()


def test_the_ledger_tells_of_a_call(tmp_path: Path) -> None:
    """Whoever has an answer finds it in the ledger; the request's id is the call's number."""
    path = tmp_path / "ledger.jsonl"

    async def scene(running: Running) -> None:
        before = time.time()
        answer = await ask(running.base_url)
        [call] = read_ledger(path)
        assert answer.headers["x-request-id"] == f"req_{call.call:012d}"
        assert call.answer is not None
        assert before <= call.at <= call.answer.at <= time.time()
        assert (call.answer.status, call.answer.delivered, call.answer.billed) == (200, True, True)
        assert call.answer.completion_tokens == answer.data["usage"]["completion_tokens"]
        assert call.prompt_tokens == answer.data["usage"]["prompt_tokens"]
        assert call.prompt == "Where is my parcel?"

    play(scene, path)


def test_beyond_the_limit_comes_429(tmp_path: Path) -> None:
    """A refusal says when to come back; then the call goes through, and not before."""

    async def scene(running: Running) -> None:
        first, second = await ask(running.base_url), await ask(running.base_url)
        assert (first.headers["x-ratelimit-limit-requests"], first.status) == ("1", 200)
        assert (second.status, second.error["code"]) == (429, "rate_limit_exceeded")
        assert second.headers["retry-after"] == "1"
        assert second.headers["x-ratelimit-remaining-requests"] == "0"
        wait = int(second.headers["retry-after-ms"]) / 1000
        assert 0 < wait <= 0.5
        await asyncio.sleep(wait)
        assert (await ask(running.base_url)).status == 200

    calls = play(scene, tmp_path / "ledger.jsonl", limits={"rpm": 1, "window": 0.5})
    refused = calls[1].answer
    assert refused is not None
    assert refused.retry_after is not None
    assert (refused.delivered, refused.billed) == (True, False)
    assert calls[2].at >= refused.at + refused.retry_after


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"rpm": 1}, "on requests per min (RPM): Limit 1, Used 1, Requested 1."),
        ({"rpd": 1}, "on requests per day (RPD): Limit 1, Used 1, Requested 1."),
        ({"tpm": 100, "count": "actual"}, "on tokens per min (TPM): Limit 100, "),
    ],
)
def test_a_429_names_the_limit_that_is_used_up(limits: dict[str, Any], said: str) -> None:
    """With the time in which it counts, as OpenAI words it."""

    async def scene(running: Running) -> None:
        await ask(running.base_url, body(messages=[{"role": "user", "content": "word " * 200}]))
        answer = await ask(running.base_url)
        assert f"Rate limit reached for m-1 {said}" in answer.error["message"]

    play(scene, limits=limits)


def test_a_wait_is_never_told_too_short() -> None:
    """Seconds and milliseconds are rounded up."""
    headers = refused(Refusal(429, "wait", retry_after=1.0121)).headers
    assert headers == {"retry-after": "2", "retry-after-ms": "1013"}


def test_models_have_limits_of_their_own() -> None:
    """What one model has used up is not missing to another."""

    async def scene(running: Running) -> None:
        statuses = [(await ask(running.base_url, body(model=m))).status for m in ("a", "b", "a", "b")]
        assert statuses == [200, 200, 429, 429]

    play(scene, limits={"rpm": 1})


def test_a_request_above_the_whole_limit_never_fits() -> None:
    """It is refused without a time to come back, as OpenAI does."""
    answer = asked(body(max_tokens=1000), limits={"tpm": 100})
    assert (answer.status, answer.error["type"]) == (429, "tokens")
    assert "too large" in answer.error["message"]
    assert "retry-after" not in answer.headers


def test_tokens_may_be_counted_by_usage() -> None:
    """Then a call of any size is let in, and what it used keeps the next one out."""

    async def scene(running: Running) -> None:
        first, second = await ask(running.base_url), await ask(running.base_url)
        assert (first.status, second.status) == (200, 429)
        used = first.data["usage"]["total_tokens"]
        assert f"Limit 20, Used {used}" in second.error["message"]

    play(scene, limits={"tpm": 20, "count": "actual"})


@pytest.mark.parametrize(("queue", "expected"), [(True, [200] * 6), (False, [200] * 2 + [429] * 4)])
def test_places_are_limited(queue: bool, expected: list[int]) -> None:
    """With two places six calls take three turns, or four of them are refused."""

    async def scene(running: Running) -> None:
        began = time.monotonic()
        answers = await asyncio.gather(*(ask(running.base_url) for _ in range(6)))
        assert sorted(answer.status for answer in answers) == expected
        assert time.monotonic() - began >= (0.45 if queue else 0.15)

    play(scene, limits={"concurrency": 2, "queue": queue}, latency={"kind": "constant", "seconds": 0.15})


@pytest.mark.parametrize("fault", [{}, {"close": "mid_body"}, {"stall": 3600, "at": "mid_body"}], ids=str)
def test_a_client_that_leaves_is_billed(tmp_path: Path, fault: dict[str, Any]) -> None:
    """Generation goes on without the client: the answer is billed and not delivered."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(request(body()))
            await eventually(lambda: running.ledger.counts.calls == 1)
        await eventually(lambda: running.ledger.counts.billed == 1)

    faults = [fault] if fault else []
    late = {"kind": "constant", "seconds": 0.05}
    [call] = play(scene, tmp_path / "ledger.jsonl", latency=late, faults=faults)
    assert call.answer is not None
    assert (call.answer.status, call.answer.delivered, call.answer.billed) == (None, False, True)


def test_a_client_that_never_reads_gets_no_delivery(tmp_path: Path) -> None:
    """Bytes that stay behind when the client goes are no delivery, although the answer was begun."""
    path = tmp_path / "ledger.jsonl"

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(request(LARGE))
            await eventually(lambda: running.ledger.counts.billed == 1)
            await asyncio.sleep(0.02)
        await eventually(lambda: running.ledger.counts.delivered == 0)

    [call] = play(scene, path)
    assert call.answer is not None
    assert (call.answer.status, call.answer.delivered, call.answer.billed) == (200, False, True)


CUTS: list[tuple[dict[str, Any], int | None, type[Exception]]] = [
    ({"reset": "before_headers"}, None, ConnectionResetError),
    ({"reset": "after_headers"}, 0, ConnectionResetError),
    ({"reset": "mid_body"}, 100, ConnectionResetError),
    ({"close": "before_headers"}, None, asyncio.IncompleteReadError),
    ({"close": "after_headers"}, 0, asyncio.IncompleteReadError),
    ({"close": "mid_body"}, 100, asyncio.IncompleteReadError),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "received", "error"), CUTS, ids=str)
def test_an_answer_is_cut(
    tmp_path: Path, fault: dict[str, Any], received: int | None, error: type[Exception], stream: bool
) -> None:
    """RST and FIN come where the rule says; the answer is billed and not delivered, and a retry is served."""

    async def scene(running: Running) -> None:
        content = body(stream=stream)
        async with connected(running.base_url) as wire:
            await wire.send(request(content))
            if received is not None:
                assert (await wire.head())[0] == 200
            if received:
                await wire.reader.readexactly(received)
            with pytest.raises(error):
                await wire.reader.readexactly(10_000)
        assert (await ask(running.base_url, content)).status == 200

    calls = play(scene, tmp_path / "ledger.jsonl", faults=[{"first": 1, **fault}])
    cut, whole = (call.answer for call in calls)
    assert cut is not None
    assert whole is not None
    assert (cut.status, cut.delivered, cut.billed) == (None if received is None else 200, False, True)
    assert cut.fault == " ".join(*fault.items())
    assert (whole.delivered, whole.fault) == (True, None)


@pytest.mark.parametrize("at", ["before_headers", "after_headers", "mid_body"])
def test_an_answer_stalls(tmp_path: Path, at: str) -> None:
    """Nothing comes for a while, and then the whole answer is there."""

    async def scene(running: Running) -> None:
        began = time.monotonic()
        answer = await ask(running.base_url)
        assert time.monotonic() - began >= 0.1
        assert answer.data["choices"]

    [call] = play(scene, tmp_path / "ledger.jsonl", faults=[{"stall": 0.1, "at": at}])
    assert call.answer is not None
    assert call.answer.delivered


def test_a_second_copy_overtakes_a_straggler(tmp_path: Path) -> None:
    """A stall is drawn for each time that a request comes: asked again, it is answered at once."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as straggler:
            await straggler.send(request(body()))
            await eventually(lambda: running.ledger.counts.calls == 1)
            assert (await ask(running.base_url)).status == 200
        await eventually(lambda: running.ledger.counts.billed == 2)

    stall = {"rate": 1, "first": 1, "stall": 3600}
    late, quick = play(scene, tmp_path / "ledger.jsonl", faults=[stall], limits={"concurrency": 1})
    assert late.key == quick.key
    assert [call.answer.fault for call in (late, quick) if call.answer] == ["stall 3600.0", None]


def test_nobody_waits_for_a_stall_after_the_client_has_left() -> None:
    """A stall of an hour ends when the connection does."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(request(body()))
            await eventually(lambda: running.ledger.counts.calls == 1)
        await eventually(lambda: running.ledger.counts.billed == 1)

    play(scene, faults=[{"stall": 3600}])


def test_an_answer_drips() -> None:
    """The body comes at the given rate, give or take the machine's load."""

    async def scene(running: Running) -> None:
        began = time.monotonic()
        answer = await ask(running.base_url)
        assert time.monotonic() - began >= len(answer.body) / 5000 * 0.9
        assert answer.data["choices"]

    play(scene, faults=[{"drip": 5000}])


def test_a_status_comes_with_its_words(tmp_path: Path) -> None:
    """OpenAI's body for the status, the wait as a header, and other headers as they are given."""
    rule = {"status": 429, "retry_after": 2, "headers": {"x-should-retry": "true"}}

    async def scene(running: Running) -> None:
        answer = await ask(running.base_url)
        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
        assert answer.headers["retry-after"] == "2"
        assert answer.headers["x-should-retry"] == "true"

    [call] = play(scene, tmp_path / "ledger.jsonl", faults=[rule])
    assert call.answer is not None
    assert (call.answer.billed, call.answer.retry_after, call.answer.fault) == (False, 2, "status 429")


@pytest.mark.parametrize(
    ("wait", "header"),
    [(1.5, "1.5"), (-3, "-3"), (1e9, "1000000000"), (float("nan"), "nan"), (float("inf"), "inf")],
)
def test_odd_waits_are_sent_as_given(wait: float, header: str) -> None:
    """A client must cope with whatever stands in retry-after."""
    assert asked(faults=[{"status": 503, "retry_after": wait}]).headers["retry-after"] == header


def test_a_status_may_have_any_body() -> None:
    """A gateway's HTML page, say, or an error object of another kind."""
    page = asked(faults=[{"status": 502, "raw_body": "<h1>Bad Gateway</h1>", "content_type": "text/html"}])
    assert (page.status, page.headers["content-type"], page.body) == (
        502,
        "text/html",
        b"<h1>Bad Gateway</h1>",
    )
    error = asked(
        faults=[{"status": 429, "type": "insufficient_quota", "code": "insufficient_quota", "message": "!"}]
    )
    assert error.error == {
        "message": "!",
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_quota",
    }


def test_server_errors_take_as_long_as_an_answer() -> None:
    """A 5xx comes when the completion would have come, a 4xx at once."""

    async def scene(running: Running) -> None:
        began = time.monotonic()
        assert (await ask(running.base_url, body(model="a"))).status == 400
        early = time.monotonic() - began
        assert (await ask(running.base_url, body(model="b"))).status == 500
        assert early < 0.3 <= time.monotonic() - began - early

    faults = [{"model": "a", "status": 400}, {"status": 500}]
    play(scene, faults=faults, latency={"kind": "constant", "seconds": 0.3})


def test_faults_do_not_depend_on_refusals() -> None:
    """A call refused over the limit does not use up a fault: the first admitted one meets it."""

    async def scene(running: Running) -> None:
        statuses = [(await ask(running.base_url, body(model="b"))).status for _ in range(2)]
        assert statuses == [500, 429]
        await asyncio.sleep(0.3)
        assert (await ask(running.base_url, body(model="b"))).status == 200

    play(scene, faults=[{"first": 1, "status": 500}], limits={"rpm": 1, "window": 0.3})


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ({"error_in_200": 502}, lambda d: d["error"]["code"] == 502 and "choices" not in d),
        ({"answer": "null_choices"}, lambda d: d["choices"] is None),
        ({"answer": "no_choices"}, lambda d: d["choices"] == []),
        ({"answer": "null_message"}, lambda d: d["choices"][0]["message"] is None),
        ({"answer": "content_filter"}, lambda d: d["choices"][0]["finish_reason"] == "content_filter"),
        ({"finish_reason": "eos"}, lambda d: d["choices"][0]["finish_reason"] == "eos"),
        (
            {"answer": "refusal"},
            lambda d: d["choices"][0]["message"]["content"] is None and d["choices"][0]["message"]["refusal"],
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_200_may_be_no_answer(fault: dict[str, Any], check: Callable[[Any], bool]) -> None:
    """Each of the bad answers that real services give with status 200, whole and as a stream."""
    answer = asked(faults=[fault])
    assert answer.status == 200
    assert check(answer.data)
    stream = asked(body(stream=True), faults=[fault])
    assert all(json.loads(e[6:]) for e in stream.body.split(b"\n\n") if e and e != b"data: [DONE]")


def test_an_error_inside_a_200_is_not_billed(tmp_path: Path) -> None:
    """Nothing was generated, whatever the status says."""

    async def scene(running: Running) -> None:
        await ask(running.base_url)

    [call] = play(scene, tmp_path / "ledger.jsonl", faults=[{"error_in_200": 502}])
    assert call.answer is not None
    assert (call.answer.status, call.answer.billed, call.answer.delivered) == (200, False, True)


@pytest.mark.parametrize("stream", [False, True])
def test_a_200_may_be_no_json(stream: bool) -> None:
    """Half an answer with the right length, or no body at all: HTTP is fine, its content is not."""
    whole = asked(body(stream=stream)).body
    half = asked(body(stream=stream), faults=[{"answer": "malformed"}]).body
    assert 0 < len(half) < len(whole)
    assert whole.startswith(half[:100].split(b"created")[0])
    assert asked(body(stream=stream), faults=[{"answer": "empty"}]).body == b""


def test_two_ledgers_of_one_seed_agree(tmp_path: Path) -> None:
    """The same requests in another order meet the same faults and latencies, request by request."""

    def faults(order: list[int], path: Path) -> dict[str, str | None]:
        async def scene(running: Running) -> None:
            for user in order:
                async with connected(running.base_url) as wire:
                    await wire.send(request(body(temperature=user / 100)))
                    await wire.reader.read(1)

        rules = [{"rate": 0.3, "status": 500}, {"rate": 0.3, "close": "before_headers"}]
        calls = play(scene, path, faults=rules, seed=5)
        return {call.key: call.answer.fault for call in calls if call.answer}

    forward = faults(list(range(40)), tmp_path / "a.jsonl")
    assert set(forward.values()) == {None, "status 500", "close before_headers"}
    assert forward == faults(list(reversed(range(40))), tmp_path / "b.jsonl")


def test_leaving_cuts_off_what_is_unanswered(tmp_path: Path) -> None:
    """The block does not wait for generation; such a call has no answer in the ledger."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(request(body()))
            await eventually(lambda: running.ledger.counts.calls == 1)

    [call] = play(scene, tmp_path / "ledger.jsonl", latency={"kind": "constant", "seconds": 3600})
    assert call.answer is None


def test_a_port_that_is_taken_is_an_error() -> None:
    """Two simulators do not share a port silently."""

    async def scene(running: Running) -> None:
        port = int(running.base_url.split(":")[2].removesuffix("/v1"))
        with pytest.raises(OSError, match="address already in use"):
            async with serve(SimulatorConfig(), port=port):
                pass

    play(scene)


def test_a_bug_of_ours_is_not_passed_over(tmp_path: Path) -> None:
    """When the ledger cannot be written, the call is cut off and the block ends with the error."""

    async def scene(running: Running) -> None:
        with files_of_at_most(10), pytest.raises(asyncio.IncompleteReadError):
            await ask(running.base_url)

    with pytest.raises(OSError, match="room for a whole line"):
        play(scene, tmp_path / "ledger.jsonl")


@pytest.mark.parametrize("seconds", [0, 3600])
def test_nothing_is_left_open_after_the_block(seconds: float) -> None:
    """Leaving ends what is being generated, and the connections, also one whose answer nobody reads."""
    config = SimulatorConfig(latency=ConstantLatency(seconds=seconds))

    async def main() -> None:
        async with serve(config) as running, connected(running.base_url) as wire:
            await wire.send(request(LARGE))
            await eventually(lambda: running.ledger.counts.calls == 1)
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a full transport on a socket
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
