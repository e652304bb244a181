"""Secrets in what a server says, in all the ways that text is spelled on its way."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.client import Client
from batchrun.client.hiding import HIDDEN, Hidden, keys_in, password_in
from tests.client.servers import KEY, RELAXED, Peer, answer, one_call, replied
from tests.spellings import SPELLINGS

SECRETS = [
    "sk-canary-9fK2mQ7xZt4LpW8vRb6N",
    "ca\"na'ry\\k<e>&y\\\\with+quo/tes%2F=01",
    "90817263544536271",
    "pä%2Fé-wort unter uns",
    "\\ends-with-one\\",
]


@pytest.mark.parametrize(("value", "is_secret"), [("1234567", False), ("12345678", True)])
def test_what_is_too_short_is_no_secret(value: str, is_secret: bool) -> None:
    """Under 8 characters it may stand in any text."""
    assert (Hidden([value]).hide_text(f"it is {value}.") != f"it is {value}.") is is_secret


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_hidden_however_it_is_spelled(secret: str, spelling: str) -> None:
    """In plain text, and within a text of a JSON document, which stays one and else the same.

    A backslash may be left of the first letter's escape.
    """
    spelled = SPELLINGS[spelling](secret)
    hidden = Hidden([secret])
    plain = hidden.hide(f"<p>key {spelled} is wrong".encode()).decode()
    assert HIDDEN in plain
    assert secret not in plain
    told = json.loads(hidden.hide(json.dumps({"n": 1, "message": f"key {spelled} is wrong"}).encode()))
    assert told["n"] == 1
    assert HIDDEN in told["message"]
    assert told["message"].startswith("key ")
    assert told["message"].endswith(" is wrong")
    assert secret not in told["message"]


def test_escapes_of_the_document_itself_are_read() -> None:
    """What JSON's own reader would give holds no secret, and neither do the bytes."""
    for body in (
        rb'{"m": "\u0073K-c\u0061nary-9fK2mQ7xZt4LpW8vRb6N"}',
        b'{"sk-canary-9fK2mQ7xZt4LpW8vRb6N": 1}',
    ):
        assert HIDDEN in str(json.loads(Hidden(SECRETS).hide(body)))


@pytest.mark.parametrize("before", [b"\\n", b"\\\\", b"\\\\\\n", b'\\"', b"nine-letters\\\\"])
@pytest.mark.parametrize("secret", ["nine-letters", '"quoted-secret', "plain-secret", "\\between-two\\"])
def test_the_escape_before_a_secret_stays_whole(before: bytes, secret: str) -> None:
    """A secret may begin with the letter of an escape; the document stays JSON."""
    body = b'{"m": "' + before + json.dumps(secret).encode()[1:-1] * 2 + b'"}'
    assert secret.strip("\\") not in json.loads(Hidden([secret]).hide(body))["m"]


def test_a_number_may_be_a_key() -> None:
    """And the document stays JSON; other numbers keep their value."""
    body = b'{"key": 90817263544536271, "n": 123456789012345678901234567890}'
    told = {"key": HIDDEN, "n": 123456789012345678901234567890}
    assert json.loads(Hidden(SECRETS).hide(body)) == told


def test_the_first_of_two_members_of_one_name_is_looked_at_too() -> None:
    """A reader of JSON sees only the last."""
    assert b"canary" not in Hidden(SECRETS).hide(f'{{"a": "{SECRETS[0]}", "a": 1}}'.encode())


def test_a_document_too_deep_to_be_read_is_hidden_as_text() -> None:
    """A hostile answer must not end the run."""
    for depth in (600, 1_000, 5_000):
        body = b"[" * depth + f'"{SECRETS[0]}"'.encode() + b"]" * depth
        assert b"canary" not in Hidden(SECRETS).hide(body)


def test_what_is_no_secret_stays_to_the_byte() -> None:
    """Short values, as the `EMPTY` of servers without keys, and parts of a key as OpenAI shows them."""
    body = b'{ "a": "EMPTY sk-cana*****Rb6N \\u0073k-canary 100% &#115; \xff", "b":1.50}'
    assert Hidden([*SECRETS, "EMPTY", "", " "]).hide(body) is body
    assert Hidden([]).hide(body) is body


def test_of_two_secrets_the_longer_is_hidden_first() -> None:
    """Else its rest would stay."""
    assert Hidden(["abcdefgh", "abcdefgh-ijklmnop"]).hide(b"x abcdefgh-ijklmnop") == f"x {HIDDEN}".encode()


def test_a_secret_across_the_edge_of_a_window_is_found() -> None:
    """A long answer is looked through piece by piece."""
    hidden = Hidden(SECRETS)
    spelled = SPELLINGS["JSON codes"](SECRETS[0]).encode()
    for before in range((1 << 20) - 200, (1 << 20) + 5, 41):
        assert b"u00" not in hidden.hide(b" " * before + spelled + b" " * 100)


@pytest.mark.parametrize(
    "unit",
    [b"\\", b"s\\", b"%25", b"%2525", b"&#0", b"&amp;", b"&#00000", b"\\u00", b"\\u0073", b"sk-canary-"],
)
def test_no_answer_takes_long_to_look_through(unit: bytes) -> None:
    """A megabyte made to keep a regular expression busy, and a key that calls for it."""
    body = unit * (1_000_000 // len(unit)) + SECRETS[0].encode()
    started = time.perf_counter()
    assert HIDDEN.encode() in Hidden(SECRETS[:1]).hide(body)
    assert time.perf_counter() - started < 3


@given(st.text(), st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=8), st.text())
def test_any_secret_in_any_text_is_hidden(before: str, secret: str, after: str) -> None:
    """In JSON as Python and as others write it."""
    for ascii_only in (True, False):
        body = json.dumps({"m": f"{before}{secret}{after}"}, ensure_ascii=ascii_only)
        told = json.loads(Hidden([secret]).hide(body.encode(errors="surrogatepass")))
        for known in Hidden([secret]).secrets:
            assert known not in told["m"].replace(HIDDEN, "\n")


def test_a_password_is_a_secret_too() -> None:
    """Of Basic authorization, and of a proxy's address, there as it is written and as it is sent."""
    given_headers = {"authorization": "Basic " + base64.b64encode(b"ann:s3cret-word").decode()}
    assert "s3cret-word" in list(keys_in(given_headers))
    assert set(password_in("http://ann:s3cret%2Fword@proxy:3128")) == {"s3cret%2Fword", "s3cret/word"}
    assert [*password_in("proxy:3128"), *password_in("http://ann@proxy"), *password_in("http://[")] == []


def test_headers_and_errors_are_hidden_as_well() -> None:
    """A redirect's target, a request's id."""

    async def quoting(peer: Peer) -> None:
        await peer.request()
        target = f"location: https://other/{quote(KEY)}?key={KEY}\r\nx-request-id: {KEY}\r\nx-other: 7\r\n"
        await peer.send(answer(b"", status="302 Found", headers=target))

    async def main() -> None:
        reply = replied((await one_call(quoting))[0])
        assert KEY not in str(reply)
        assert (reply.headers["x-request-id"], reply.headers["x-other"]) == (HIDDEN, "7")

        def failing(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError(f"sent {request.headers['authorization']}", request=request)

        headers = {"Authorization": f"Bearer {KEY}"}
        transport = httpx.MockTransport(failing)
        client = Client("http://localhost/v1", headers=headers, timeouts=RELAXED, transport=transport)
        assert KEY not in str(await client.call(b"{}"))

    anyio.run(main)
