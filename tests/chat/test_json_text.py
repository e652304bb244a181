"""JSON in the texts that models write: what is repaired, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun import codec
from batchrun.chat.schema.json_text import NotJsonError, candidates, parse

REPAIRED: dict[str, tuple[str, Any]] = {
    "a json fence": ('```json\n{"a": 1}\n```', {"a": 1}),
    "a fence without a language": ('```\n{"a": 1}\n```', {"a": 1}),
    "a fence in one line": ('```json {"a": 1}```', {"a": 1}),
    "a fence that is not closed": ('```json\n{"a": 1}\n', {"a": 1}),
    "a fence between prose": ('Here you are:\n```json\n{"a": 1}\n```\nAnything else?', {"a": 1}),
    "a fence inside a string": ('```json\n{"a": "```py\\nx\\n```"}\n```', {"a": "```py\nx\n```"}),
    "prose before": ('Sure! {"a": 1}', {"a": 1}),
    "prose after": ('{"a": 1}\n\nI hope this helps.', {"a": 1}),
    "prose with brackets before": ('As for [the list] and {this}: {"a": 1}', {"a": 1}),
    "prose with JSON inside its brackets": ('{not: {"a": 2}} {"a": 1}', {"a": 1}),
    "a smiley before": (':{ sorry, {"a": 1}', {"a": 1}),
    "a stop token after": ('{"a": 1}<|im_end|>', {"a": 1}),
    "a comma after": ('{"a": 1},', {"a": 1}),
    "a closing bracket too many": ('{"a": 1}}', {"a": 1}),
    "a byte order mark": ('\ufeff{"a": 1}', {"a": 1}),
    "a no-break space around": ('\u00a0{"a": 1}\u00a0', {"a": 1}),
    "thinking before": ('<think>maybe {"a": 2}?</think>\n{"a": 1}', {"a": 1}),
    "thinking that the prompt began": ('maybe {"a": 2}?\n</think>\n\n{"a": 1}', {"a": 1}),
    "thinking that is ended twice": ('maybe {"a": 2}?</think> or {"a": 3}</think>{"a": 1}', {"a": 1}),
    "thinking after a first word": ('Hm. <think>{"a": 2}</think>{"a": 1}', {"a": 1}),
    "thinking before a text": ('I say "x"</think>"spam"', "spam"),
    "a tag of thinking inside a string": (
        'Yes: {"a": "use </think> \\"here\\""}',
        {"a": 'use </think> "here"'},
    ),
    "thinking, and its tag inside a string": ('hm</think>{"a": ["</think>"],}', {"a": ["</think>"]}),
    "a comma before a brace": ('{"a": 1,}', {"a": 1}),
    "a comma before a bracket": ('{"a": [1, 2 , ]}', {"a": [1, 2]}),
    "commas before several brackets": ('[{"a": "x",}, {"a": null,},\n]', [{"a": "x"}, {"a": None}]),
    "a comma inside a string stays": ('{"a": "1,}", "b": true,}', {"a": "1,}", "b": True}),
    "a quote after a trailing comma": ('{"a": 1,} is 5" wide', {"a": 1}),
    "a raw line break in a string": ('{"a": "one\ntwo"}', {"a": "one\ntwo"}),
    "a raw tab in a string": ('{"a": "one\ttwo"}', {"a": "one\ttwo"}),
    "a lone surrogate in the text": ('{"a": "\ud83d"}', {"a": "\ufffd"}),
    "an escaped lone surrogate in prose": ('Yes: {"a": "\\ud83d"}', {"a": "\ufffd"}),
    "a fenced string": ('```json\n"spam"\n```', "spam"),
    "a fenced number": ("```\n12\n```", 12),
    "a large integer in a fence": (
        '```\n{"a": 9007199254740993123456789}\n```',
        {"a": 9007199254740993123456789},
    ),
    "equal keys": ('{"a": 2, "a": 1} ok', {"a": 1}),
}

REFUSED = {
    "": "empty",
    " \n": "empty",
    "<think>well</think>": "empty",
    'maybe {"a": 1}</think>': "empty",
    '{"a": 1}</think>I do not know.': "no JSON",
    "I cannot answer that.": "no JSON",
    '{"a": 1': "ends in the middle",
    '{"a": "tex': "ends in the middle",
    "{": "ends in the middle",
    '{"a": [{"b": 1}, {"b": 2}], "c": ': "ends in the middle",
    '```json\n{"a": [{"b": 1},': "ends in the middle",
    '{"a": 1 "b": 2}': "character 8",
    '{"a": [1,,]}': "character 9",
    "{'a': {\"b\": 1}}": "no JSON",
    "{a: 1}": "no JSON",
    "[,]": "no JSON",
    '{"a": NaN}': "NaN is no JSON number",
    'x {"a": -Infinity}': "-Infinity is no JSON number",
    '{"a": 1e999} x': "too large",
    'The label is "spam".': "no JSON",
    "5 apples": "no JSON",
    "[" * 100_000: "nested too deeply",
    f"[{'9' * 5_000}] x": "digits",
    f"[{'9' * 5_000},] x": "digits",
    "[NaN,] x": "NaN is no JSON number",
}


@pytest.mark.parametrize("text", [text for text, _ in REPAIRED.values()], ids=list(REPAIRED))
def test_what_stands_around_json_is_dropped(text: str) -> None:
    """Nothing but JSON is left, and no value is made up."""
    expected = next(value for known, value in REPAIRED.values() if known == text)
    assert list(candidates(text)) == [expected]
    with pytest.raises(NotJsonError):
        parse(text)


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_a_text_without_whole_json_is_refused(text: str) -> None:
    """A value that is cut off is never completed, and none inside it is taken for the answer."""
    with pytest.raises(NotJsonError, match=REFUSED[text]):
        list(candidates(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' {"a": 1}\n', ({"a": 1}, False)),
        ('{"a": 1, "a": 2}', ({"a": 2}, False)),
        ("123456789012345678901234567890", (123456789012345678901234567890, False)),
        ('"NaN"', ("NaN", False)),
        ("null", (None, False)),
        ('"\\ud83d\\ude00"', ("😀", False)),
        ('{"\\ud83d": ["\\udc00"]}', ({"\ufffd": ["\ufffd"]}, True)),
    ],
)
def test_plain_json_is_read_exactly(text: str, expected: tuple[Any, bool]) -> None:
    """Only a lone surrogate, which no file could keep, is replaced, and that is told."""
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e400", '"a\nb"', '{"a": 1} x', "9" * 5000])
def test_what_is_no_json_is_not_read(text: str) -> None:
    """Python's own extensions of JSON neither."""
    with pytest.raises(NotJsonError):
        parse(text)


def test_several_values_come_in_their_order() -> None:
    """Which of them is the answer is for the schema to say."""
    assert list(candidates('First {"a": 1}, then [2], then {"a": 3,} and {"a": 4}.')) == [
        {"a": 1},
        [2],
        {"a": 3},
        {"a": 4},
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    "text",
    [
        "[a" * 50_000,
        "</think>" * 50_000,
        '</think>"' * 50_000,
        "{" * 50_000,
        '{"a":1,}' * 50_000,
        '"' * 50_000 + "[1,",
    ],
)
def test_a_hostile_text_is_read_in_little_time(text: str) -> None:
    """No pass over the rest of the text for each of its brackets: the suite would not end."""
    with pytest.raises(NotJsonError):
        list(candidates(text))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES.filter(lambda value: isinstance(value, dict | list)), st.sampled_from(["", "json"]))
def test_any_value_is_found_in_a_fence_between_prose(value: Any, language: str) -> None:
    """Whatever its strings hold: quotes, fences, brackets."""
    text = f"Here it is:\n```{language}\n{codec.dumps(value).decode()}\n```\nDone."
    assert list(candidates(text)) == [value]


@given(_VALUES.filter(lambda value: isinstance(value, dict | list) and value), st.data())
def test_a_value_that_is_cut_anywhere_gives_nothing(value: Any, data: st.DataObject) -> None:
    """Not even a part of it that is whole by itself."""
    text = codec.dumps(value).decode()
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(NotJsonError):
        list(candidates(text[:cut]))
