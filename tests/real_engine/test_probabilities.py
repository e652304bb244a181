"""What `probabilities` says against what an engine does when it is asked very often."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from batchrun.chat.response.probabilities import Probabilities, label_probabilities
from tests.real_engine.engine import Engine

LABELS = ["ask", "ship", "test"]
ROUNDS = 400
ALL = 400
"""More alternatives than the model has tokens."""


def answer(engine: Engine, prompt: str, seed: int, alternatives: int) -> tuple[str, list[dict[str, Any]]]:
    """A label in quotes, sampled with the probabilities that the model has, and its tokens."""
    choices = " | ".join(f'"\\"{label}\\""' for label in LABELS)
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 12,
        "grammar": f"root ::= {choices}",
        "logprobs": True,
        "top_logprobs": alternatives,
        "seed": seed,
        "temperature": 1,
        "top_k": 0,
        "top_p": 1,
        "min_p": 0,
    }
    choice = engine.ask(body)["choices"][0]
    return choice["message"]["content"].strip('"'), choice["logprobs"]["content"]


@pytest.mark.parametrize("prompt", ["hello", "row 3"])
def test_labels_come_as_often_as_their_probability_says(engine: Engine, prompt: str) -> None:
    """The engine reports probabilities from before its grammar; those of the labels are from after it."""
    seen: Counter[tuple[int, str]] = Counter()
    told: dict[int, Probabilities] = {}
    for seed in range(ROUNDS):
        label, tokens = answer(engine, prompt, seed, 1)
        opening = tokens[0]["id"]  # the vocabulary has two tokens for the quote: two ways to begin
        seen[opening, label] += 1
        if opening not in told:
            found = label_probabilities(LABELS, answer(engine, prompt, seed, ALL)[1])
            assert found is not None
            assert found.confidence == found.by_label[label]
            told[opening] = found
    for opening, found in told.items():
        times = sum(seen[opening, label] for label in LABELS)
        for label, probability in found.by_label.items():
            spread = (probability * (1 - probability) / times) ** 0.5
            assert seen[opening, label] / times == pytest.approx(probability, abs=4 * spread + 1 / times)
