"""What an exchange means for its row."""

from __future__ import annotations

import pytest

from batchrun.outcome import ERROR_TYPES, Response, Usage
from batchrun.policy.judge import judge

DEEP = b"[" * 900 + b"]" * 900


@pytest.mark.parametrize(
    "body", [DEEP, b'{"error":%b}' % DEEP, b'{"detail":%b}' % DEEP, b'{"error":{"message":%b}}' % DEEP]
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_error_nested_deeply_is_an_error_like_any_other(status: int, body: bytes) -> None:
    """Its text cannot be shown; neither the row nor the run ends by that."""
    judged = judge(Response(status, {}, body, 0.1))
    assert judged.error is not None
    assert judged.error.type in ERROR_TYPES
    assert judged.error.message


@pytest.mark.parametrize(
    ("members", "error_type"),
    [
        (b'"choices":[{"message":{"content":"a"}}]', None),
        (b'"choices":[]', "invalid_response"),
        (b'"error":{"message":"overloaded"}', "server"),
        (b'"choices":[{"message":{"content":null},"finish_reason":"error"}]', "server"),
    ],
)
def test_a_200_says_what_it_took_with_an_answer_or_without(members: bytes, error_type: str | None) -> None:
    """The endpoint counts and bills both alike."""
    judged = judge(Response(200, {}, b'{%b,"usage":{"total_tokens":9}}' % members, 0.1))
    assert judged.bill.usage == Usage(total_tokens=9)
    assert (judged.error.type if judged.error else None) == error_type


def test_a_refused_call_took_nothing() -> None:
    """Whatever its body says: a status outside 2xx is not billed."""
    assert judge(Response(503, {}, b'{"usage":{"total_tokens":9}}', 0.1)).bill.usage is None
