"""What an exchange means for its row."""

from __future__ import annotations

import pytest

from batchrun.judge import judge
from batchrun.outcome import ERROR_TYPES, Reply

DEEP = b"[" * 900 + b"]" * 900


@pytest.mark.parametrize(
    "body", [DEEP, b'{"error":%b}' % DEEP, b'{"detail":%b}' % DEEP, b'{"error":{"message":%b}}' % DEEP]
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_error_nested_deeply_is_an_error_like_any_other(status: int, body: bytes) -> None:
    """Its text cannot be shown; neither the row nor the run ends by that."""
    judged = judge(Reply(status, {}, body, 0.1))
    assert judged.error is not None
    assert judged.error.type in ERROR_TYPES
    assert judged.error.message
