"""How sure a model was, as a job reads it in answers of any length."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchrun import codec
from batchrun.chat.response.completion import Completion, read_completion
from batchrun.chat.response.probabilities import content_tokens, one_token
from batchrun.chat.response.reading import Reader
from batchrun.chat.schema.structured import AnswerSchema

TOKENS = st.lists(st.sampled_from(["a", " a", "b", "ab", " ", "\n", "", "<s>", "<|end|>"]), max_size=7)


def completion(content: str, tokens: list[str]) -> Completion:
    """An answer with these tokens."""
    logprobs = {"content": [{"token": token, "logprob": -0.5, "top_logprobs": []} for token in tokens]}
    choice = {"message": {"content": content}, "logprobs": logprobs, "finish_reason": "stop"}
    read = read_completion(codec.dumps({"choices": [choice]}))
    assert isinstance(read, Completion)
    return read


@given(TOKENS, st.sampled_from(["a", "b", "ab", " a ", "a b", ""]))
def test_an_answer_of_one_token_is_found_whatever_stands_around_it(tokens: list[str], content: str) -> None:
    """Reasoning before it, special tokens and space after it: no shortcut passes over one."""
    answer = completion(content, tokens)
    spelled = content_tokens(answer.choices[0].logprobs or (), content)
    expected = one_token(spelled) if spelled else None
    found, _ = Reader(frozenset()).read(answer, last=True)
    assert found.get("probabilities") == (expected.by_label if expected else None)


def test_an_answer_of_one_token_is_found_after_reasoning() -> None:
    """Some servers list the tokens of the reasoning before those of the content."""
    tokens = ["so", " it", " is", " the", " first", "\n", "a", "<|end|>"]
    found, _ = Reader(frozenset()).read(completion("a", tokens), last=True)
    assert found["probabilities"] == {"a": found["confidence"]}


def test_a_schema_without_labels_has_no_probabilities() -> None:
    """There is nothing to choose from, and the tokens need not be read."""
    schema: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    found, unwanted = Reader(frozenset(), AnswerSchema(schema)).read(
        completion('{"n":1}', ['{"n":1}']), last=True
    )
    assert unwanted is None
    assert found == {"parsed": {"n": 1}}
