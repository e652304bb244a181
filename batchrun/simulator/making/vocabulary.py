"""Words: how texts are cut into tokens, and the sentences that simulated answers are made of. Pure."""

from __future__ import annotations

import re

from batchrun.codec import hash64

VOCABULARY = 100_000
"""Token ids are below this."""

_TOKEN = re.compile(r" ?\w+| ?[^\w\s]|\s+")


def tokens(text: str) -> list[str]:
    """Cut `text` into words, marks and spaces; joined, they are the text again."""
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """The number of a token; two tokens may share one."""
    return hash64(token.encode("utf-8", "surrogatepass")) % VOCABULARY


SENTENCES: tuple[tuple[str, ...], ...] = (
    (
        "The customer reports a problem that began after the last update.",
        "The message describes a fault that keeps coming back.",
        "The customer asks for help with an order placed last week.",
        "This is a complaint about a charge that appears twice.",
        "The request is about access to an existing account.",
        "The writer is satisfied on the whole and suggests one improvement.",
        "The customer wants to know when the delivery will arrive.",
        "The message is a question about how a feature works.",
    ),
    (
        "The tone is calm and the facts are stated clearly.",
        "The tone is impatient, since an earlier message went unanswered.",
        "The details given are enough to reproduce it.",
        "An order number is missing and has to be asked for.",
        "It affects one person and does not block their work.",
        "It affects a whole team and blocks their work.",
        "A similar case was solved by signing in again.",
        "The amount in question is small, but the matter is urgent.",
    ),
    (
        "Priority: low.",
        "Priority: normal.",
        "Priority: high.",
        "Category: billing.",
        "Category: delivery.",
        "Category: technical issue.",
        "Category: account access.",
        "Category: product feedback.",
    ),
    (
        "Next step: ask for a screenshot and the version in use.",
        "Next step: refund the second charge and confirm by mail.",
        "Next step: pass it on to the technical team.",
        "Next step: send the tracking link and close the ticket.",
        "Next step: reset the password and check the sign-in log.",
        "Next step: thank the customer and record the suggestion.",
        "Next step: call back within one working day.",
        "No further action is needed for now.",
    ),
)
"""One list for each place in an answer: what it is, how it is, its label, what to do."""

TOKENS: tuple[tuple[tuple[str, ...], ...], ...] = tuple(
    tuple(tuple(tokens(sentence if place == 0 else f" {sentence}")) for sentence in sentences)
    for place, sentences in enumerate(SENTENCES)
)
"""SENTENCES as tokens, from the second place on with the space that joins them."""

WORDS: tuple[str, ...] = tuple(
    sorted(
        {word for sentences in SENTENCES for s in sentences for word in s.lower().split() if word.isalpha()}
    )
)
"""The single words, for values of JSON members and for the alternatives of a token."""
