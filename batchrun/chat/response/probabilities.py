"""How sure a model was of its answer, from the log probabilities of the answer's tokens.

Tokens are `ChatCompletionTokenLogprob`s (OpenAI's Chat Completions reference): mappings with `token`,
`logprob`, `bytes` and `top_logprobs`, as the server gave them, so that anything may be missing.

An answer that is one of several labels takes a few tokens, and the alternatives are known along the
path that was sampled only. At each step of it an alternative counts

- for a label, when the text with it can become that label alone;
- for the sampled path, when it leaves open what the sampled token leaves open (`b` + `ill` for `bill`,
  another space before the string): the same text by other tokens goes on as the sampled one did;
- for nothing, when no label can follow. What is left is divided by its sum, step by step, as decoding
  under a grammar does, so it does not matter whether a server reports probabilities before its grammar
  was applied or after;
- as unknown, when several labels can follow, but not the sampled token's.

A label that no alternative shown leads to may hold as much as the least one shown: that is unknown too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchrun.chat.response.label_places import Quoted, Whole, find

ONE_TOKEN = 4
"""At most so many tokens are an answer of one token and special ones around it."""

MOST_UNKNOWN = 0.05
"""No result where more than this share of the probability is unknown: it bounds how far off one can be."""

_TOKEN_ID = re.compile(r"token_id:\d+")
"""What vLLM writes for a token with `return_tokens_as_token_ids`: its text cannot be known."""

_SPECIAL = re.compile(
    r"<[|｜][^<>]*[|｜]>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>|\[(?:BOS|EOS|PAD|SEP)\]"
)
"""Tokens of model families that begin, end or pad a text and are no part of it."""


@dataclass(frozen=True, slots=True)
class Probabilities:
    """What the model thought of the answers it could give.

    Attributes:
        confidence: the probability of the answer that was given, 0 to 1.
        by_label: the probability of each answer. Labels of a job's list add up to 1; the alternatives
            of a one-token answer add up to at most 1, as only the likeliest are known.
    """

    confidence: float
    by_label: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Token:
    text: bytes | None
    """None where the server does not say; empty for a special token."""
    probability: float
    special: bool


def one_token(tokens: Sequence[Mapping[str, Any]]) -> Probabilities | None:
    """The probabilities of an answer of one token, special ones aside; None for any other answer.

    Alternatives that differ only in the space around them are one answer. Special tokens, blank
    alternatives and those whose text is not known or no UTF-8 are left out.
    """
    said = [token for token in tokens[:ONE_TOKEN] if not _is_special(token)]
    sampled = _read(said[0]) if len(said) == 1 and len(tokens) <= ONE_TOKEN else None
    answer = _answer(sampled)
    if sampled is None or not answer or _is_joined(said[0], sampled):
        return None
    by_label = {answer: sampled.probability}
    for alternative in _alternatives(said[0], sampled):
        if label := _answer(alternative):
            by_label[label] = by_label.get(label, 0.0) + alternative.probability
    total = max(1.0, math.fsum(by_label.values()))  # rounded logprobs may add up to a little more
    by_label = {label: probability / total for label, probability in by_label.items()}
    return Probabilities(by_label[answer], by_label)


def content_tokens(tokens: Sequence[Mapping[str, Any]], content: str) -> Sequence[Mapping[str, Any]] | None:
    """The tokens that spell the content: some servers list those of the reasoning before them.

    None where no end of the list spells it, but for space and special tokens around it.
    """
    texts = [b"" if token is None else token.text or b"" for token in map(_read, tokens)]
    whole, wanted = b"".join(texts), content.strip().encode()
    place = whole.rfind(wanted)
    if place < 0 or whole[place + len(wanted) :].strip():
        return None
    if not whole[:place].strip():
        return tokens
    start = 0
    for number, text in enumerate(texts):
        if start + len(text) > place:
            return tokens[number:]
        start += len(text)
    return None


def label_probabilities(
    labels: Sequence[str], tokens: Sequence[Mapping[str, Any]], *, path: Sequence[str] = ()
) -> Probabilities | None:
    """The probability of each label, given that the answer is one of them and what was written before it.

    `tokens` are those of the whole answer. With `path` the answer is a JSON object, in which the label
    is the value of the member that `path` names, from the outermost object in; without it the label is
    the whole answer. Returns None where no label was given or the alternatives cannot tell: without
    `top_logprobs`, with more than `MOST_UNKNOWN` of the probability unknown, and where one label is the
    beginning of another and the server does not report the token that ends the answer.
    """
    labels = tuple(dict.fromkeys(labels))
    read = [_read(token) for token in tokens]
    if any(token is None or token.text is None for token in read):
        return None
    sampled = [token for token in read if token is not None]
    found = find(labels, b"".join(token.text or b"" for token in sampled), path)
    if found is None:
        return None
    place, label = found
    by_label = _walk(_Walk(place, labels), tokens, sampled)
    return None if by_label is None else Probabilities(by_label[label], by_label)


@dataclass(slots=True)
class _Walk:
    """The way along the sampled tokens: what is written, what is still possible, how likely it was."""

    place: Whole | Quoted
    possible: tuple[str, ...]
    written: bytes = b""
    reach: float = 1.0
    """The probability of the sampled path so far."""
    unknown: float = 0.0

    def after(self, token: _Token, *, ended: bool) -> tuple[str, ...]:
        """The labels that are possible when `token` comes next."""
        begun = self.place.begins(self.written + (token.text or b""))
        if begun is None:
            return ()
        return tuple(label for label in self.possible if self.place.spells(label, begun, ended=ended))


def _walk(
    walk: _Walk, tokens: Sequence[Mapping[str, Any]], sampled: Sequence[_Token]
) -> dict[str, float] | None:
    """Add up what each label gets at each step, until one is left; None where that does not happen."""
    by_label = dict.fromkeys(walk.possible, 0.0)
    last = max((number for number, token in enumerate(sampled) if not token.special), default=-1)
    for number, token in enumerate(sampled):
        if len(walk.possible) == 1:
            break
        if len(walk.written) + len(token.text or b"") >= len(walk.place.given):
            if token.special and number < last:
                continue
            if not _step(walk, tokens[number], token, by_label):
                return None
        walk.written += token.text or b""
    if len(walk.possible) > 1 or walk.unknown > MOST_UNKNOWN:
        return None
    by_label[walk.possible[0]] += walk.reach
    return by_label


def _step(walk: _Walk, token: Mapping[str, Any], sampled: _Token, by_label: dict[str, float]) -> bool:
    """One sampled token and its alternatives; False where they tell nothing."""
    alternatives = list(_alternatives(token, sampled))
    if not token.get("top_logprobs") or _is_joined(token, sampled):
        return False
    going_on = walk.after(sampled, ended=sampled.special)
    path, unknown, shares = sampled.probability, 0.0, dict.fromkeys(walk.possible, 0.0)
    missing = set(walk.possible).difference(going_on)
    for alternative in alternatives:
        left = walk.after(alternative, ended=alternative.special)
        if left == going_on:
            path += alternative.probability
        elif len(left) == 1:
            shares[left[0]] += alternative.probability
        elif left:
            unknown += alternative.probability
        missing.difference_update(left)
    unknown += _unseen(sampled, alternatives, len(missing))
    known = path + math.fsum(shares.values())
    if not known:
        return False
    walk.unknown += walk.reach * unknown / (known + unknown)
    for label, share in shares.items():
        by_label[label] += walk.reach * share / known
    walk.reach *= path / known
    walk.possible = going_on
    return True


def _unseen(sampled: _Token, alternatives: Sequence[_Token], missing: int) -> float:
    """What labels that no alternative leads to can have: each no more than the least one shown."""
    shown = [token.probability for token in alternatives]
    left = max(0.0, 1.0 - sampled.probability - math.fsum(shown))
    return min(left, missing * min(shown, default=1.0))


def _alternatives(token: Mapping[str, Any], sampled: _Token) -> Iterator[_Token]:
    """The alternatives to a token, itself left out once: two tokens may have the same text."""
    others = _listed(token)
    same = [item for item in others if (item.text, item.special) == (sampled.text, sampled.special)]
    itself = min(same, key=lambda item: abs(item.probability - sampled.probability), default=None)
    return (item for item in others if item is not itself)


def _is_joined(token: Mapping[str, Any], sampled: _Token) -> bool:
    """Whether a token is several, of which the alternatives are those of the last alone.

    llama.cpp's server joins tokens that are parts of one character.
    """
    whole = sampled.text or b""
    ends = [
        item.text
        for item in _listed(token)
        if item.text and math.isclose(item.probability, sampled.probability, rel_tol=1e-5)
    ]
    return whole not in ends and any(map(whole.endswith, ends))


def _listed(token: Mapping[str, Any]) -> list[_Token]:
    listed = token.get("top_logprobs")
    read = [_read(item) for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return [item for item in read if item is not None]


def _read(token: Mapping[str, Any]) -> _Token | None:
    """One token; None where its probability is missing. JSON has no infinity: what is below -700 is 0."""
    logprob = token.get("logprob")
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or logprob != logprob:
        return None
    special = _is_special(token)
    return _Token(b"" if special else _text(token), math.exp(min(0.0, max(logprob, -1e6))), special)


def _text(token: Mapping[str, Any]) -> bytes | None:
    """The bytes of a token, which may be a part of a character; its text where bytes are not given."""
    text, data = token.get("token"), token.get("bytes")
    known = isinstance(text, str) and not _TOKEN_ID.fullmatch(text)
    written = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""
    if isinstance(data, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in data):
        return bytes(data) if known or bytes(data) != written else None
    return written if known else None


def _is_special(token: Mapping[str, Any]) -> bool:
    """Whether a token is no part of the text: it has none, or is one of those that end it."""
    text = token.get("token")
    if isinstance(text, str) and text:
        return bool(_SPECIAL.fullmatch(text))
    return not token.get("bytes")


def _answer(token: _Token | None) -> str:
    """The text of a token as an answer, without space around it; empty if it has none."""
    try:
        return "" if token is None else (token.text or b"").decode("utf-8").strip()
    except UnicodeDecodeError:
        return ""
