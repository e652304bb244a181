"""How sure a model was: one-token answers, labels by hand, and any model whose numbers are all known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from batchrun.chat.response.probabilities import Probabilities, label_probabilities, one_token

Token = dict[str, Any]


def option(text: str | bytes, probability: float) -> Token:
    """A token as a server gives it."""
    data = text.encode() if isinstance(text, str) else text
    logprob = math.log(probability) if probability else -9999.0
    return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "logprob": logprob}


def token(text: str | bytes, probability: float, **others: float) -> Token:
    """A sampled token with its alternatives, itself the first of them. `_` in a name stands for a quote."""
    alternatives = [option(other.replace("_", '"'), share) for other, share in others.items()]
    return option(text, probability) | {"top_logprobs": [option(text, probability), *alternatives]}


def sure(*texts: str) -> list[Token]:
    """Tokens that had to come."""
    return [token(text, 1.0) for text in texts]


def rounded(found: Probabilities | None) -> dict[str, float] | None:
    """The labels' probabilities, after checking that they are some."""
    if found is None:
        return None
    assert math.isclose(math.fsum(found.by_label.values()), 1.0)
    assert 0 <= found.confidence <= 1
    return {label: round(share, 6) for label, share in found.by_label.items()}


@pytest.mark.parametrize(
    ("tokens", "confidence", "by_label"),
    [
        pytest.param([token("Yes", 0.7, No=0.2)], 0.7, {"Yes": 0.7, "No": 0.2}, id="not normalised"),
        pytest.param(
            [option(" Yes", 0.5) | {"top_logprobs": [option(" Yes", 0.5), option("Yes", 0.2)]}],
            0.7,
            {"Yes": 0.7},
            id="space around it is no difference",
        ),
        pytest.param([token("yes", 0.6, Yes=0.3)], 0.6, {"yes": 0.6, "Yes": 0.3}, id="case is one"),
        pytest.param([option("Yes", 0.7)], 0.7, {"Yes": 0.7}, id="no alternatives asked for"),
        pytest.param([token("A", 0.6), option("<|im_end|>", 0.9)], 0.6, {"A": 0.6}, id="then its end"),
        pytest.param([token("A", 0.6), option("", 0.9)], 0.6, {"A": 0.6}, id="then a token without text"),
        pytest.param(
            [option("A", 0.6) | {"top_logprobs": [option("B", 0.39)]}],
            0.6,
            {"A": 0.6, "B": 0.39},
            id="not among the likeliest",
        ),
        pytest.param([token("A", 0.6, B=0.0)], 0.6, {"A": 0.6, "B": 0.0}, id="-9999 is never"),
        pytest.param(
            [token("A", 0.6) | {"logprob": 1e-7, "top_logprobs": None}], 1.0, {"A": 1.0}, id="rounded above 0"
        ),
        pytest.param([{"token": "A", "logprob": 0, "bytes": None}], 1.0, {"A": 1.0}, id="no bytes"),
    ],
)
def test_an_answer_of_one_token(tokens: list[Token], confidence: float, by_label: dict[str, float]) -> None:
    """Its probability, and those of the answers that could have stood there."""
    found = one_token(tokens)
    assert found is not None
    assert found.confidence == pytest.approx(confidence)
    assert found.by_label == pytest.approx(by_label)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [option("<|end|>", 0.5)],
        [option("Yes", 0.5), option("!", 0.5)],
        [option("\n", 0.5)],
        [option(b"\xf0\x9f", 0.5)],
        [option("é", 0.5) | {"top_logprobs": [option(b"\xa9", 0.5), option("A", 0.5)]}],
        [{"token": "Yes", "logprob": None, "bytes": None}],
        [{"token": "token_id:42", "logprob": -0.1, "bytes": list(b"token_id:42")}],
        [{}],
    ],
)
def test_other_answers_have_no_confidence(tokens: list[Token]) -> None:
    """Longer or empty ones, parts of characters, and tokens that the server does not name."""
    assert one_token(tokens) is None


BILL = ["bill", "billing"]
SHIP = ["ship", "shipping", "other"]
END = "<|im_end|>"


@pytest.mark.parametrize(
    ("labels", "tokens", "expected"),
    [
        pytest.param(
            ["yes", "no"], [token("yes", 0.6, no=0.3)], {"yes": 0.666667, "no": 0.333333}, id="normalised"
        ),
        pytest.param(
            ["billing", "technical"],
            [token("bill", 0.6, tech=0.4), token("ing", 1.0)],
            {"billing": 0.6, "technical": 0.4},
            id="by their first tokens",
        ),
        pytest.param(
            SHIP,
            [
                token("sh", 0.8, other=0.2),
                token("ip", 1.0),
                token("ping", 0.75) | {"top_logprobs": [option("ping", 0.75), option(END, 0.25)]},
            ],
            {"ship": 0.2, "shipping": 0.6, "other": 0.2},
            id="a prefix is decided by the end of the answer",
        ),
        pytest.param(
            SHIP,
            [
                token("ship", 0.8, other=0.2),
                option(END, 0.25) | {"top_logprobs": [option(END, 0.25), option("ping", 0.75)]},
            ],
            {"ship": 0.2, "shipping": 0.6, "other": 0.2},
            id="which a server may report as a token",
        ),
        pytest.param(SHIP, [token("ship", 0.8, other=0.2)], None, id="or not, and then nobody knows"),
        pytest.param(
            SHIP,
            [token("o", 0.2, ship=0.8), token("ther", 1.0)],
            None,
            id="a path not taken leads to several labels",
        ),
        pytest.param(
            ["ship", "other"],
            [token(" ship", 0.5, ship=0.3, other=0.2), token("\n", 1.0)],
            {"ship": 0.8, "other": 0.2},
            id="space around the answer",
        ),
        pytest.param(
            SHIP,
            [token("sh", 0.5, shi=0.1, s=0.1, other=0.3), token("ipping", 1.0, ip=0.0)],
            {"ship": 0.0, "shipping": 0.7, "other": 0.3},
            id="other tokens of the same text go on as the sampled ones",
        ),
        pytest.param(
            ["yes", "no"],
            [token("y", 0.5, no=0.25, Sure=0.25), token("es", 0.1, um=0.9)],
            {"yes": 0.666667, "no": 0.333333},
            id="what leads to no label does not count, at any step",
        ),
        pytest.param(
            ["yes", "no"],
            [token("<s>", 1.0), token("yes", 0.6, no=0.4), *sure(END)],
            {"yes": 0.6, "no": 0.4},
            id="special tokens around it",
        ),
        pytest.param(["yes"], sure("yes"), {"yes": 1.0}, id="one label"),
        pytest.param(["yes", "no"], sure("maybe"), None, id="no label"),
        pytest.param(["yes", "no"], [], None, id="no tokens"),
        pytest.param(["yes", "no"], [option("yes", 0.9)], None, id="no alternatives"),
        pytest.param(["yes", "no"], [token("yes", 0.9)], None, id="not enough alternatives"),
        pytest.param(
            ["yes", "no"],
            [token("yes", 0.96)],
            {"yes": 1.0, "no": 0.0},
            id="hardly any alternatives needed",
        ),
        pytest.param(
            list("abcdefgh"),
            [token("a", 0.9, b=0.03, c=0.002)],
            {"a": 0.965665, "b": 0.032189, "c": 0.002146} | dict.fromkeys("defgh", 0.0),
            id="labels not shown have less than the least one shown",
        ),
        pytest.param(
            list("abcdefgh"), [token("a", 0.7, b=0.15, c=0.05)], None, id="unless that adds up to something"
        ),
        pytest.param(
            ["日本", "中国"],
            [
                option(b"\xe6\x97", 0.7) | {"top_logprobs": [option(b"\xe4", 0.3)]},
                token(b"\xa5", 1.0),
                token("本", 1.0),
            ],
            {"日本": 0.7, "中国": 0.3},
            id="tokens that are parts of characters",
        ),
        pytest.param(
            ["été", "ôta"],
            [option("é", 0.6) | {"top_logprobs": [option(b"\xa9", 0.6), option(b"\xb4", 0.4)]}, *sure("té")],
            None,
            id="which a server has joined",
        ),
        pytest.param(
            ["yes", "no"],
            [{"token": "token_id:1", "logprob": -0.1, "bytes": list(b"token_id:1"), "top_logprobs": []}],
            None,
            id="tokens without a text",
        ),
        pytest.param(['"a"', "b"], [token('"a"', 0.9, b=0.1)], {'"a"': 0.9, "b": 0.1}, id="quotes in it"),
    ],
)
def test_a_label_that_is_the_whole_answer(
    labels: list[str], tokens: list[Token], expected: dict[str, float] | None
) -> None:
    """The alternatives along the sampled tokens add up to the labels' probabilities, or say nothing."""
    assert rounded(label_probabilities(labels, tokens)) == expected


@pytest.mark.parametrize(
    ("labels", "tokens", "path", "expected"),
    [
        pytest.param(
            BILL,
            [*sure('{"', "label", '":', ' "', "bill"), token('"}', 0.3, ing=0.7)],
            ["label"],
            {"bill": 0.3, "billing": 0.7},
            id="a prefix is decided by the closing quote",
        ),
        pytest.param(
            BILL,
            [*sure('{"label":"bill'), token('"', 0.3, ing_=0.3, ing=0.4), *sure("}")],
            ["label"],
            {"bill": 0.3, "billing": 0.7},
            id="tokens that hold more than the label",
        ),
        pytest.param(
            ["bug", "ask"],
            [*sure("{", '"label'), token('":"b', 0.6, **{"_:_a": 0.3, "_": 0.1}), *sure('ug"}')],
            ["label"],
            None,
            id="tokens that hold its beginning, and a path not taken",
        ),
        pytest.param(
            ["bug", "ask"],
            [*sure("{", '"label'), token('":"b', 0.6, **{"_:_a": 0.36, "_": 0.04}), *sure('ug"}')],
            ["label"],
            {"bug": 0.625, "ask": 0.375},
            id="the same where it matters little",
        ),
        pytest.param(
            ["bug", "ask"],
            [*sure('{"label'), token('":', 0.6, **{"_: ": 0.2, "_:_": 0.2}), token('"', 0.9, **{" ": 0.1}),
             token("bug", 0.6, ask=0.4), *sure('"}')],
            ["label"],
            {"bug": 0.6, "ask": 0.4},
            id="space before it goes on as the sampled way",
        ),
        pytest.param(
            ["bug", "ask"],
            [*sure('{"why":"{\\"label\\":\\"x', '","label":', '"'), token("bug", 0.6, ask=0.4), *sure('"}')],
            ["label"],
            {"bug": 0.6, "ask": 0.4},
            id="after another member",
        ),
        pytest.param(
            ["bug", "ask"],
            [*sure("```\n", '{"n":[{"label":"ask"}],\n "label":"'), token("ask", 0.9, bug=0.1), *sure('"')],
            ["label"],
            {"bug": 0.1, "ask": 0.9},
            id="in a fence, cut off after it",
        ),
        pytest.param(
            ["bug", "ask"],
            [*sure('{"a":{"n":1,"label":"'), token("bug", 0.6, ask=0.4), *sure('"}}')],
            ["a", "label"],
            {"bug": 0.6, "ask": 0.4},
            id="a member of a member",
        ),
        pytest.param(
            ["a/b", 'a"c', "aé", "a😀"],
            [*sure('{"label":"a'), token("\\", 0.75, é=0.2, x=0.05), *sure("u", "d83", "D\\uDe00", '"}')],
            ["label"],
            {"a/b": 0.0, 'a"c': 0.0, "aé": 0.210526, "a😀": 0.789474},
            id="the beginning of an escape may become several labels",
        ),
        pytest.param(
            ['a"c', "aé"],
            [*sure('{"label":"a'), token('\\"', 0.7, **{"é": 0.2, "\\u00E9": 0.1}), *sure('c"}')],
            ["label"],
            {'a"c': 0.7, "aé": 0.3},
            id="each way to escape a character",
        ),
        pytest.param(
            ["bug", "ask"], [token('"bug', 0.6, _ask=0.4), *sure('"')], [], {"bug": 0.6, "ask": 0.4},
            id="the answer is a JSON string",
        ),
        pytest.param(["bug", "ask"], sure('{"label":"oth"}'), ["label"], None, id="no label"),
        pytest.param(["bug", "ask"], sure('{"label":"bu'), ["label"], None, id="cut off in it"),
        pytest.param(["bug", "ask"], sure('{"label":null}'), ["label"], None, id="no string"),
        pytest.param(["bug", "ask"], sure('{"a":{"label":"bug"}}'), ["label"], None, id="no such member"),
        pytest.param(["bug", "ask"], sure('{"a":"bug"}'), ["a", "b"], None, id="a member of a string"),
        pytest.param(["bug", "ask"], sure("[" * 5000), ["label"], None, id="nonsense"),
        pytest.param(["bug", "ask"], sure('{"a":' + "[" * 5000), ["label"], None, id="nested too deeply"),
    ],
)  # fmt: skip
def test_a_label_that_is_a_string_in_json(
    labels: list[str], tokens: list[Token], path: list[str], expected: dict[str, float] | None
) -> None:
    """Wherever the tokens begin and end."""
    assert rounded(label_probabilities(labels, tokens, path=path)) == expected


@dataclass(frozen=True)
class Model:
    """A model over whole texts: what it thinks of each next token depends on the text alone."""

    labels: tuple[str, ...]
    pieces: tuple[str, ...]
    seed: int
    json: bool

    def ends(self) -> dict[str, str]:
        """Each label with its text to the end: a quote, or `.`, which stands for the token that ends it."""
        return {label: f'"{label}"' if self.json else f"{label}." for label in self.labels}

    def reached(self, text: str) -> frozenset[str]:
        """The labels whose text can still come."""
        return frozenset(label for label, end in self.ends().items() if end.startswith(text))

    def options(self, text: str) -> dict[str, float]:
        """The next tokens, those that lead to no label too, and their probabilities."""
        random = Random(f"{self.seed} {text}")
        weights = {piece: random.random() ** 3 for piece in self.pieces}
        total = math.fsum(weights.values())
        return {piece: weight / total for piece, weight in weights.items()}

    def allowed(self, text: str) -> dict[str, float]:
        """The same under a grammar of the labels: what leads to none is left out."""
        options = {piece: p for piece, p in self.options(text).items() if self.reached(text + piece)}
        total = math.fsum(options.values())
        return {piece: p / total for piece, p in options.items()}

    def exact(self, text: str = "") -> dict[str, float]:
        """The probability of each label after `text`, by trying all ways."""
        found = dict.fromkeys(self.labels, 0.0)
        for piece, probability in self.allowed(text).items():
            longer = text + piece
            ended = [label for label, end in self.ends().items() if end == longer]
            for label, share in ({ended[0]: 1.0} if ended else self.exact(longer)).items():
                found[label] += probability * share
        return found

    def sample(self, random: Random) -> tuple[list[Token], bool]:
        """Tokens of an answer with all alternatives, and whether each other way led to one label."""
        text, tokens, told_apart = "", [], True
        while not any(text == end for end in self.ends().values()):
            allowed = self.allowed(text)
            (piece,) = random.choices(list(allowed), list(allowed.values()))
            if len(self.reached(text)) > 1:
                others = [self.reached(text + other) for other in allowed if other != piece]
                told_apart &= all(len(reached) == 1 for reached in others)
            options = {self._spelled(key): p for key, p in self.options(text).items()}
            top = [option(key, p) for key, p in options.items()]
            tokens.append(option(self._spelled(piece), options[self._spelled(piece)]) | {"top_logprobs": top})
            text += piece
        return tokens, told_apart

    def _spelled(self, piece: str) -> str:
        return END if piece == "." else piece


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Labels over three letters, often beginnings of each other, and pieces of them for tokens."""
    labels = draw(st.lists(st.text("abc", min_size=1, max_size=4), min_size=2, max_size=4, unique=True))
    as_json = draw(st.booleans())
    cuts = [label[i:j] for label in labels for i in range(len(label)) for j in range(i + 1, len(label) + 1)]
    pieces = {*"abc", *draw(st.lists(st.sampled_from(cuts), max_size=3))}
    if as_json:
        pieces |= {'"', *(draw(st.sets(st.sampled_from([f'"{cuts[0]}', f'{cuts[-1]}"', '""']))))}
    else:
        pieces.add(".")
    return Model(tuple(labels), tuple(sorted(pieces)), draw(st.integers(0, 2**32)), as_json)


@settings(max_examples=400, deadline=None)
@given(models(), st.integers(0, 2**32))
def test_a_model_that_shows_all_its_alternatives_is_read_exactly(model: Model, seed: int) -> None:
    """Under a grammar or not, where each way that was not taken led to one label; else it is no nonsense."""
    tokens, told_apart = model.sample(Random(seed))
    found = label_probabilities(model.labels, tokens)
    event(f"exact: {told_apart}, read: {found is not None}")
    if found is not None:
        assert set(found.by_label) == set(model.labels)
        assert all(0 <= share <= 1 for share in found.by_label.values())
        assert math.fsum(found.by_label.values()) == pytest.approx(1.0, abs=1e-9)
        text = "".join(item["token"] for item in tokens).replace(END, "")
        assert found.confidence == found.by_label[json.loads(text) if model.json else text]
    if told_apart:
        assert found is not None
        assert found.by_label == pytest.approx(model.exact(), abs=1e-9)


NUMBERS = st.none() | st.floats(allow_nan=True) | st.integers() | st.booleans() | st.text(max_size=3)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "token": st.none() | st.sampled_from(["a", "ab", '{"k":"', '"', "\ud800", "</s>", "token_id:3", ""]),
        "logprob": NUMBERS,
        "bytes": st.none() | st.lists(st.integers(-1, 256), max_size=3) | st.just("x"),
    },
)
ANYTHING = st.lists(
    st.tuples(ENTRIES, st.none() | st.lists(ENTRIES | st.none(), max_size=3)).map(
        lambda pair: pair[0] | {"top_logprobs": pair[1]}
    ),
    max_size=5,
)


@given(ANYTHING, st.sampled_from([(), ("k",)]))
def test_whatever_a_server_sends_is_read_without_an_error(
    tokens: Sequence[Mapping[str, Any]], path: tuple[str, ...]
) -> None:
    """Members that are missing or of other kinds make an answer without probabilities, at worst."""
    for found in (one_token(tokens), label_probabilities(["a", "ab", "", "\ud800"], tokens, path=path)):
        if found is not None:
            assert 0 <= found.confidence <= 1
            assert 0 <= math.fsum(found.by_label.values()) <= 1 + 1e-9
