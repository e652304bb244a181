"""Log probabilities: of labels, refusals and prompts, and the ids of tokens."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest

from batchrun.simulator.making.vocabulary import token_id, tokens
from batchrun.simulator.making.written import END
from tests.simulator.asking import choice, refusal, reply

LABELS = ["ship", "shipping", "in stock", "in transit", "in transit now", "bill-1", "bill-2"]


def asked(labels: list[str], seed: int = 0, **members: Any) -> tuple[str, list[dict[str, Any]]]:
    """The label that a schema with one enum got, and the entries from its first token on."""
    schema = {"type": "object", "properties": {"note": {"type": "string"}, "label": {"enum": labels}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    found = choice(seed=seed, response_format=wanted, logprobs=True, **{"top_logprobs": 20, **members})
    entries = found["logprobs"]["content"]
    label = json.loads(found["message"]["content"])["label"]
    count = len(tokens(f'{label}"'))
    return label, entries[len(entries) - 1 - count : -1]


def distribution(labels: list[str], entries: list[dict[str, Any]]) -> dict[str, float]:
    """What the entries tell of each label that one of their alternatives decides."""
    ways = {label: tokens(f'{label}"') for label in labels}
    found: dict[str, float] = {}
    path, before = 1.0, list[str]()
    for entry in entries:
        for option in entry["top_logprobs"]:
            start = [*before, option["token"]]
            fits = [label for label, way in ways.items() if way[: len(start)] == start]
            if len(fits) == 1 and fits[0] not in found:
                found[fits[0]] = path * math.exp(option["logprob"])
        path *= math.exp(entry["logprob"])
        before.append(entry["token"])
    return found


@pytest.mark.parametrize("seed", range(12))
def test_alternatives_of_a_label_are_the_other_labels(seed: int) -> None:
    """Where labels part, each has its share; the shares belong together and add up to no more than 1."""
    label, entries = asked(LABELS, seed)
    assert "".join(entry["token"] for entry in entries) == f'{label}"'
    for entry in entries:
        options = entry["top_logprobs"]
        assert sum(math.exp(option["logprob"]) for option in options) <= 1 + 1e-12
        assert len({option["token"] for option in options}) == 20
        assert sorted(options, key=lambda option: -option["logprob"]) == options
        same = {name: entry[name] for name in ("token", "logprob", "bytes")}
        assert same in options
    found = distribution(LABELS, entries)
    assert {"ship", "shipping"} <= set(found)
    assert label in found
    assert 0.5 < sum(found.values()) <= 1


def test_the_label_written_is_mostly_the_likeliest() -> None:
    """Not always, as models go; always at temperature 0."""
    shares = []
    for seed in range(60):
        label, entries = asked(["a", "b", "c"], seed)
        found = distribution(["a", "b", "c"], entries)
        shares.append(found[label] == max(found.values()))
        label, entries = asked(["a", "b", "c"], seed, temperature=0)
        found = distribution(["a", "b", "c"], entries)
        assert found[label] == max(found.values())
    assert 0.6 < sum(shares) / len(shares) < 1


def test_few_alternatives_are_the_likeliest() -> None:
    """top_logprobs cuts the list from below, as OpenAI does."""
    _, every = asked(["a", "b", "c", "d"], top_logprobs=20)
    _, two = asked(["a", "b", "c", "d"], top_logprobs=2)
    assert len(two[0]["top_logprobs"]) == 2
    assert all(option["token"] in "abcd" for option in every[0]["top_logprobs"][:4])


def test_a_choice_is_one_of_its_labels() -> None:
    """vLLM's structured_outputs.choice; a label that goes on where another ends has that as alternative."""
    labels = ["yes", "yes please", "no"]
    texts = set()
    for seed in range(20):
        found = choice(seed=seed, structured_outputs={"choice": labels}, logprobs=True, top_logprobs=3)
        text, entries = found["message"]["content"], found["logprobs"]["content"]
        texts.add(text)
        assert {option["token"] for option in entries[0]["top_logprobs"]} & {"yes", "no"} == {"yes", "no"}
        if text == "yes please":
            assert {" please", END} <= {option["token"] for option in entries[1]["top_logprobs"]}
    assert texts == set(labels)


@pytest.mark.parametrize(
    ("guide", "check"),
    [
        ({"regex": r"[A-Z]{3}-\d+"}, lambda text: text[:3].isupper() and text[3] == "-"),
        ({"json": {"type": "array", "items": {"const": 1}}}, lambda text: set(json.loads(text)) == {1}),
        ({"json": '{"const": [7]}'}, lambda text: json.loads(text) == [7]),
        ({"json_object": True}, lambda text: "category" in json.loads(text)),
        ({"choice": None, "regex": None}, lambda text: text.endswith(".")),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_structured_outputs_are_followed(guide: dict[str, Any], check: Any) -> None:
    """vLLM's own ways to bind the answer."""
    assert check(choice(structured_outputs=guide)["message"]["content"])


@pytest.mark.parametrize(
    ("guide", "param"),
    [
        ({"grammar": "root ::= x"}, "structured_outputs.grammar"),
        ({"regex": "(?=a)"}, "structured_outputs.regex"),
        ({"choice": []}, "structured_outputs.choice"),
        ({"choice": ["a"], "json_object": True}, "structured_outputs"),
        ({"json": "{"}, "structured_outputs.json"),
        ("choice", "structured_outputs"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_refused(guide: object, param: str) -> None:
    """A constraint is never passed over."""
    assert refusal(structured_outputs=guide).param == param


TAG = {"begin": "<call>", "schema": {"const": {"a": 1}}, "end": "</call>"}
CONTENT = {"type": "json_schema", "json_schema": {"const": {"a": 1}}}


@pytest.mark.parametrize(
    "form",
    [
        {"structures": [TAG], "triggers": ["<call>"]},
        {"format": {"type": "tag", "begin": "<call>", "content": CONTENT, "end": "</call>"}},
        {
            "format": {
                "type": "sequence",
                "elements": [
                    {"type": "any_text"},
                    {"type": "const_string", "value": "<call>"},
                    {"type": "or", "elements": [CONTENT]},
                    {"type": "regex", "pattern": "</call>"},
                ],
            }
        },
        {
            "format": {
                "type": "triggered_tags",
                "triggers": ["<"],
                "tags": [{"begin": "<call>", "content": CONTENT, "end": "</call>"}],
            }
        },
    ],
    ids=str,
)
def test_structural_tags_are_followed(form: dict[str, Any]) -> None:
    """vLLM's response_format structural_tag, in its form of today and in the earlier one."""
    said = choice(response_format={"type": "structural_tag", **form})["message"]["content"]
    assert said.endswith('<call>{"a":1}</call>')


def test_a_refusal_has_logprobs_of_its_own() -> None:
    """They stand under `refusal`, and the content has none."""
    found = choice(fault={"refusal": "I cannot help."}, logprobs=True, top_logprobs=1)
    assert (found["message"]["content"], found["message"]["refusal"]) == (None, "I cannot help.")
    assert found["logprobs"]["content"] is None
    assert "".join(entry["token"] for entry in found["logprobs"]["refusal"]) == "I cannot help."
    assert choice(fault={"refusal": "No."})["logprobs"] is None


def test_a_prompt_has_logprobs() -> None:
    """vLLM's prompt_logprobs: nothing for the first token, then alternatives by id with their ranks."""
    found = reply(prompt_logprobs=3)
    first, *rest = found["prompt_logprobs"]
    assert first is None
    assert len(rest) + 1 == found["usage"]["prompt_tokens"]
    for options in rest:
        assert [option["rank"] for option in options.values()] == [1, 2, 3]
        assert all(identity == str(token_id(o["decoded_token"])) for identity, o in options.items())
    assert "prompt_logprobs" not in reply()


def test_token_ids_are_given() -> None:
    """return_token_ids: of the prompt and of each choice; the same token has the same id."""
    found = reply(return_token_ids=True, n=2)
    assert len(found["prompt_token_ids"]) == found["usage"]["prompt_tokens"]
    ids = list(itertools.chain.from_iterable(one["token_ids"] for one in found["choices"]))
    assert len(ids) == found["usage"]["completion_tokens"]
    assert found["choices"][0]["token_ids"][-1] == token_id(".")


def test_tokens_are_named_by_their_ids() -> None:
    """return_tokens_as_token_ids: names in place of tokens, the bytes stay."""
    [entry, *_] = choice(logprobs=True, top_logprobs=2, return_tokens_as_token_ids=True)["logprobs"][
        "content"
    ]
    names = [entry["token"], *(option["token"] for option in entry["top_logprobs"])]
    texts = [bytes(entry["bytes"]), *(bytes(option["bytes"]) for option in entry["top_logprobs"])]
    assert names == [f"token_id:{token_id(text.decode())}" for text in texts]
