"""One call at a time goes by what the server says is left."""

from __future__ import annotations

from batchrun.limits.headers import Unit
from batchrun.limits.word import Word

TOKENS: tuple[Unit, float | None] = ("tokens", None)


def word(*left: int, sent: int | None = None) -> Word:
    """After `sent` calls at once (as many as were answered), whose answers said so much to be left."""
    found = Word()
    for number in range(len(left) if sent is None else sent):
        found.sending(number)
    for amount in left:
        found.answered([(TOKENS, amount)])
    return found


def test_what_is_left_may_be_asked_for() -> None:
    """And no more than that."""
    assert word(500).allows([(TOKENS, 500)])
    assert not word(500).allows([(TOKENS, 501)])


def test_the_least_of_what_calls_at_once_were_told_holds() -> None:
    """Whichever answer comes last."""
    assert not word(100, 500).allows([(TOKENS, 101)])


def test_nothing_goes_while_a_call_has_no_answer() -> None:
    """It may have taken what seems to be left."""
    assert not word(500, sent=2).allows([(TOKENS, 1)])


def test_nothing_goes_by_a_word_that_was_not_given() -> None:
    """Neither before the first answer nor where one limit is not spoken of."""
    assert not Word().allows([(TOKENS, 1)])
    assert not word(500).allows([(TOKENS, 1), (("requests", None), 1)])


def test_a_call_that_goes_alone_begins_a_new_word() -> None:
    """What was left before it is no longer."""
    found = word(500)
    found.sending(0)
    assert not found.allows([(TOKENS, 1)])
    found.answered([(TOKENS, 20)])
    assert found.allows([(TOKENS, 20)])
