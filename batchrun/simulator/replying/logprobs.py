"""Log probabilities for simulated tokens, shaped as the Chat Completions reference says. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.simulator.making.draws import numbers
from batchrun.simulator.making.vocabulary import WORDS, token_id
from batchrun.simulator.making.written import END, Picked, Text, Tokens

LABELS_SHARE = 0.98
"""Probability that all labels have together where one is picked; unrelated words have the rest."""


def content(text: Text, top: int, *draw: object, greedy: bool = False) -> list[dict[str, Any]]:
    """One entry a token: `token`, `logprob`, `bytes`, and `top` alternatives, the likeliest first.

    The probabilities of all alternatives add up to no more than 1. The token itself is the likeliest, but
    for labels that were picked: there the alternatives are the other labels' tokens, with probabilities
    that belong to one distribution over the labels, whose likeliest is mostly, and always when `greedy`,
    the label that was written.
    """
    chance = numbers(2 * len(text.tokens), "logprobs", *draw)
    entries = [
        _entry(token, 0.35 + 0.64 * chance[2 * i] / 65536, chance[2 * i + 1], top)
        for i, token in enumerate(text.tokens)
    ]
    for picked in text.picked:
        if text.tokens[picked.place :][: len(picked.label)] != _without_end(picked.label):
            continue  # cut off in the middle
        shares = _shares(picked, greedy, *draw)
        for place, options in _decisions(picked, shares):
            if place < len(entries):
                entries[place] = _decided(text.tokens[place], options, chance[2 * place + 1], top)
    return entries


def with_ids(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries with each token named by its id, as vLLM's `return_tokens_as_token_ids` asks."""
    return [
        {**_renamed(entry), "top_logprobs": [_renamed(option) for option in entry["top_logprobs"]]}
        for entry in entries
    ]


def prompt(tokens: list[str], top: int, *draw: object) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`: for each token of the prompt but the first, alternatives by token id."""
    entries = content(Text(tuple(tokens)), max(top, 1), "prompt", *draw)
    return [None, *(_ranked(entry) for entry in entries[1:])] if entries else []


def _ranked(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(token_id(option["token"])): {
            "logprob": option["logprob"],
            "rank": rank,
            "decoded_token": option["token"],
        }
        for rank, option in enumerate(entry["top_logprobs"], 1)
    }


def _renamed(option: Mapping[str, Any]) -> dict[str, Any]:
    return {**option, "token": f"token_id:{token_id(option['token'])}"}


def _entry(token: str, probability: float, offset: int, top: int) -> dict[str, Any]:
    likeliest = _option(token, probability)
    others = [_option(*other) for other in _others({token}, 1 - probability, offset, top - 1)]
    return {**likeliest, "top_logprobs": [likeliest, *others] if top else []}


def _decided(token: str, options: Mapping[str, float], offset: int, top: int) -> dict[str, Any]:
    """The entry of a token whose alternatives are known; unrelated words come after them."""
    rest = 1 - sum(options.values())
    others = _others(set(options), rest, offset, max(0, top - len(options)))
    ranked = sorted([*options.items(), *others], key=lambda option: -option[1])
    chosen = _option(token, options[token])
    return {**chosen, "top_logprobs": [_option(*option) for option in ranked[:top]]}


def _shares(picked: Picked, greedy: bool, *draw: object) -> dict[Tokens, float]:
    """The distribution over the labels; together LABELS_SHARE."""
    chance = numbers(len(picked.options) + 1, "labels", picked.place, *draw)
    least = 0.55 if greedy else 0.35
    share = least + (0.99 - least) * chance[-1] / 65536
    weights = {option: 0.05 + chance[i] / 65536 for i, option in enumerate(picked.options)}
    others = sum(weight for option, weight in weights.items() if option != picked.label)
    if not others:
        return {picked.label: LABELS_SHARE}
    return {
        option: LABELS_SHARE * (share if option == picked.label else (1 - share) * weight / others)
        for option, weight in weights.items()
    }


def _decisions(picked: Picked, shares: Mapping[Tokens, float]) -> Iterator[tuple[int, dict[str, float]]]:
    """For each token of the label, which tokens the labels that begin alike go on with, and how likely."""
    for offset in range(len(_without_end(picked.label))):
        alike = {
            option: share
            for option, share in shares.items()
            if option[:offset] == picked.label[:offset] and len(option) > offset
        }
        # After the first token it is (nearly) certain that one of these labels goes on.
        scale = (LABELS_SHARE if offset == 0 else 0.9999) / sum(alike.values())
        found: dict[str, float] = {}
        for option, share in alike.items():
            found[option[offset]] = found.get(option[offset], 0.0) + share * scale
        yield picked.place + offset, found


def _without_end(label: Tokens) -> Tokens:
    return label[:-1] if label[-1] == END else label


def _others(known: set[str], rest: float, offset: int, count: int) -> Iterator[tuple[str, float]]:
    """`count` distinct words that are not `known`, each with 40% of what the ones before it left."""
    spaced = all(token.startswith(" ") for token in known)
    words = (WORDS[(offset + i) % len(WORDS)] for i in range(len(WORDS)))
    distinct = (word for word in (f" {word}" if spaced else word for word in words) if word not in known)
    for _, word in zip(range(count), distinct, strict=False):
        yield word, rest * 0.4
        rest *= 0.6


def _option(token: str, probability: float) -> dict[str, Any]:
    data = None if token == END else list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": math.log(probability), "bytes": data}
