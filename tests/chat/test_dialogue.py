"""A conversation's moves: what is asked, what is run, and when an answer will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchrun import codec
from batchrun.chat.dialogue import Dialogue, Move, Rejected, Rules, RunTools, Step
from batchrun.chat.response.completion import Completion, read_completion
from batchrun.chat.response.reading import Reader
from batchrun.chat.schema.structured import AnswerSchema, ArgumentsReader

PROMPT = [{"role": "user", "content": "question"}]
ALL = frozenset({"invalid_output", "refusal", "content_filter"})
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def said(content: str | None = None, finish_reason: str = "stop", **members: Any) -> Completion:
    """A completion with one choice."""
    message = {"role": "assistant", "content": content, **members}
    read = read_completion(codec.dumps({"choices": [{"message": message, "finish_reason": finish_reason}]}))
    assert isinstance(read, Completion)
    return read


def calling(*names: str, arguments: str = "{}") -> Completion:
    """A completion that calls functions."""
    calls = [
        {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for at, name in enumerate(names)
    ]
    return said(None, "tool_calls", tool_calls=calls)


def talk(dialogue: Dialogue, *replies: Any) -> list[Move]:
    """Give the replies in order, and all moves that were made."""
    moves = dialogue.moves()
    made: list[Move] = [moves.send(None)]
    for reply in replies:
        try:
            made.append(moves.send(reply))
        except StopIteration:
            break
    return made


def contents(ask: Move) -> Sequence[tuple[str, str | None]]:
    """Who says what in the messages of an ask."""
    assert isinstance(ask, Step)
    return [(message["role"], message.get("content")) for message in ask.messages]


def test_one_answer_ends_a_plain_conversation() -> None:
    """The prompt is asked once, and nothing else is kept."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL), Rules())
    (ask,) = talk(dialogue, said("answer"))
    assert contents(ask) == [("user", "question")]
    assert dialogue.error is None
    assert dialogue.reading is None


def test_a_turn_sees_the_answers_before_it() -> None:
    """The conversation so far goes along, and the schema holds for the last answer alone."""
    dialogue = Dialogue(
        PROMPT,
        [lambda answers: {"role": "user", "content": f"you said {answers[-1]}; and now?"}],
        Reader(ALL, schema=AnswerSchema(SCHEMA)),
        Rules(keep_messages=True),
    )
    first, second = talk(dialogue, said("free text"), said('{"n": 1}'))
    assert isinstance(first, Step)
    assert isinstance(second, Step)
    assert (first.number, first.last, second.number, second.last) == (0, False, 1, True)
    assert contents(second) == [
        ("user", "question"),
        ("assistant", "free text"),
        ("user", "you said free text; and now?"),
    ]
    assert dialogue.reading is not None
    assert dialogue.reading["parsed"] == {"n": 1}
    assert [entry["content"] for entry in dialogue.reading["transcript"]] == [
        "question",
        "free text",
        "you said free text; and now?",
        '{"n": 1}',
    ]


def test_a_wrong_answer_is_asked_for_again_with_what_is_wrong() -> None:
    """The model sees its answer and the error; the row keeps only the exchange that did."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules(reask=2))
    first, second = talk(dialogue, said('{"n": "one"}'), said('{"n": 1}'))
    assert isinstance(first, Step)
    assert isinstance(second, Step)
    assert [role for role, _ in contents(second)] == ["user", "assistant", "user"]
    assert "integer" in str(contents(second)[-1][1])
    assert second.error is not None
    assert second.error.type == "invalid_output"
    assert dialogue.error is None
    assert dialogue.found["parsed"] == {"n": 1}


def test_what_stays_wrong_is_rejected_after_the_reasks() -> None:
    """Three answers with two re-asks; the error tells what was wrong, and the paid answer is kept."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules(reask=2))
    moves = talk(dialogue, said("no"), said("no"), said("still no"), False)
    assert [type(move) for move in moves] == [Step, Step, Step, Rejected]
    assert dialogue.error is not None
    assert dialogue.error.type == "invalid_output"


def test_another_model_begins_the_turn_anew() -> None:
    """It does not see the answers that would not do, and has its own re-asks."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules(reask=1))
    moves = talk(dialogue, said("no"), said("no"), True, said("no"), said('{"n": 2}'))
    assert [type(move) for move in moves] == [Step, Step, Rejected, Step, Step]
    assert contents(moves[3]) == [("user", "question")]
    assert [move.number for move in moves if isinstance(move, Step)] == [0, 1, 2, 3]
    assert dialogue.error is None
    assert dialogue.found["parsed"] == {"n": 2}


def test_a_wrong_answer_is_taken_when_the_job_says_so() -> None:
    """Without `invalid_output` in fail_on the text is the answer after the re-asks, unparsed."""
    reader = Reader(frozenset(), schema=AnswerSchema(SCHEMA))
    dialogue = Dialogue(PROMPT, [], reader, Rules(reask=1))
    moves = talk(dialogue, said("no"), said("no"))
    assert [type(move) for move in moves] == [Step, Step]
    assert dialogue.error is None
    assert "parsed" not in dialogue.found


def test_a_cut_answer_fails_as_truncated() -> None:
    """It was asked for again, with the advice to be brief."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules(reask=1))
    moves = talk(dialogue, said('{"n": ', "length"), said('{"n"', "length"), False)
    assert [type(move) for move in moves] == [Step, Step, Rejected]
    assert "cut off" in str(contents(moves[1])[-1][1])
    assert dialogue.error is not None
    assert dialogue.error.type == "truncated"


def test_an_answer_that_is_all_reasoning_is_not_asked_for_again() -> None:
    """The limit was used up before the first word: the same request would be paid for in vain."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules(reask=2))
    moves = talk(dialogue, said("", "length"), False)
    assert [type(move) for move in moves] == [Step, Rejected]


def test_what_was_read_in_an_answer_goes_with_it() -> None:
    """An answer that was cut before its first word says nothing, whatever the one before it said."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules(reask=1))
    message = {"role": "assistant"}
    choices = [
        {"index": at, "finish_reason": "stop", "message": {**message, "content": text}}
        for at, text in enumerate(("no", '{"n": 1}'))
    ]
    half = read_completion(codec.dumps({"choices": choices}))
    talk(dialogue, half, said("", "length"), False)
    assert dialogue.error is not None
    assert dialogue.error.type == "truncated"
    assert dialogue.reading is None


def test_a_refusal_is_rejected_at_once() -> None:
    """Asking again costs a second refusal."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules(reask=2))
    moves = talk(dialogue, said(None, refusal="I will not"), False)
    assert [type(move) for move in moves] == [Step, Rejected]
    assert dialogue.error is not None
    assert dialogue.error.type == "refusal"


def test_called_functions_are_run_and_their_results_told() -> None:
    """Results go back in the order of the calls, until the model answers in words."""
    rules = Rules(functions=frozenset({"f", "g"}), keep_messages=True)
    dialogue = Dialogue(PROMPT, [], Reader(ALL), rules)
    ask, run, again = talk(dialogue, calling("f", "g"), ("one", "two"), said("done"))
    assert isinstance(run, RunTools)
    assert [call.name for call in run.calls] == ["f", "g"]
    assert run.step == 0
    assert contents(again) == [
        ("user", "question"),
        ("assistant", None),
        ("tool", "one"),
        ("tool", "two"),
    ]
    assert isinstance(ask, Step)
    assert dialogue.reading is not None
    assert [entry["role"] for entry in dialogue.reading["transcript"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]


def test_a_model_that_never_stops_calling_is_stopped() -> None:
    """After `max_turns` rounds the row fails, and says why."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL), Rules(functions=frozenset({"f"}), max_turns=2))
    call = calling("f")
    moves = talk(dialogue, call, ("1",), call, ("2",), call, False)
    assert [type(move) for move in moves] == [Step, RunTools, Step, RunTools, Step, Rejected]
    assert dialogue.error is not None
    assert "2 rounds" in dialogue.error.message


def test_a_call_of_a_tool_without_function_ends_the_conversation() -> None:
    """The job offers it to see it called; the call is the answer."""
    reader = Reader(ALL, offered=frozenset({"other"}))
    dialogue = Dialogue(PROMPT, [], reader, Rules(functions=frozenset({"f"})))
    assert [type(move) for move in talk(dialogue, calling("other"))] == [Step]
    assert dialogue.error is None


def test_a_name_that_nobody_offered_is_run_so_that_the_model_is_told() -> None:
    """What runs functions answers that there is no such function."""
    dialogue = Dialogue(PROMPT, [], Reader(ALL), Rules(functions=frozenset({"f"})))
    assert [type(move) for move in talk(dialogue, calling("imagined"))] == [Step, RunTools]


def test_wrong_arguments_are_asked_for_again_call_by_call() -> None:
    """Each call gets a result that says what is wrong, as the API wants every call answered."""
    reader = Reader(ALL, tools={"f": ArgumentsReader(SCHEMA)}, offered=frozenset({"f"}))
    dialogue = Dialogue(PROMPT, [], reader, Rules(reask=1))
    wrong, right = (calling("f", arguments=text) for text in ('{"n": "x"}', '{"n": 3}'))
    _, second = talk(dialogue, wrong, right)
    assert [role for role, _ in contents(second)] == ["user", "assistant", "tool"]
    assert dialogue.error is None
    assert dialogue.found["tool_arguments"] == ['{"n":3}']


def test_every_choice_is_parsed() -> None:
    """The first one decides about the row."""
    choices = [
        {"index": at, "message": {"content": text}, "finish_reason": "stop"}
        for at, text in enumerate(['{"n": 1}', "no", '{"n": 3}'])
    ]
    completion = read_completion(codec.dumps({"choices": choices}))
    dialogue = Dialogue(PROMPT, [], Reader(ALL, schema=AnswerSchema(SCHEMA)), Rules())
    talk(dialogue, completion)
    assert dialogue.found["parsed"] == {"n": 1}
    assert dialogue.found["choices_parsed"] == [{"n": 1}, None, {"n": 3}]


def test_the_same_answers_make_the_same_moves() -> None:
    """So that a conversation is replayed from its records."""
    replies = (said("no"), said("no"), True, said('{"n": 2}'))

    def moves() -> list[Move]:
        reader = Reader(ALL, schema=AnswerSchema(SCHEMA))
        return talk(Dialogue(PROMPT, [], reader, Rules(reask=1)), *replies)

    assert moves() == moves()
