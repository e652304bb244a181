"""What a plan warns of before anything is paid for, and what the first refusal adds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.errors import JobError
from batchrun.forecast import price_of
from batchrun.forecast.estimate import Range, exactly
from batchrun.index import UNBOUNDED, State
from batchrun.job import load_job
from batchrun.planning import Plan, plan
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import locked
from batchrun.spending.caps import needs_bounds
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.survey.survey import take_survey
from tests.runs import JobFolder, Silent, simulated, write_rows

LABELS = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["a", "b"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def planned(folder: Path, **sections: Any) -> Plan:
    """The plan of a job of three rows, whose endpoint nobody asks."""
    job = JobFolder(folder)
    write_rows(job.rows, 3)
    job.write("http://127.0.0.1:1/v1", **sections)
    return plan(
        load_job(job.job, env=dict(os.environ), cwd=folder), env=dict(os.environ), on_rows=lambda _: None
    )


def test_a_plan_that_needs_no_word_has_no_warning(tmp_path: Path) -> None:
    """Nothing is known to go wrong."""
    assert planned(tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": "local/o3-mini", "request": {"temperature": 0}}, "refuses temperature"),
        ({"model": "local/o3-mini", "request": {"max_tokens": 5}}, "max_completion_tokens"),
        ({"fallbacks": ["local/openai/o1"], "request": {"top_p": 0.5}}, "refuses top_p"),
        ({"schema": LABELS}, "request.logprobs: true"),
        ({"schema": LABELS, "model": "local/o3-mini"}, "gives no logprobs"),
        ({"schema": {"type": "array", "items": {"enum": [1, "a"]}}}, "`parsed`"),
    ],
)
def test_a_plan_warns_of_what_is_likely_not_meant(
    tmp_path: Path, sections: dict[str, Any], words: str
) -> None:
    """Parameters that a model family refuses, columns that will be null, schemas without an Arrow type."""
    (warning,) = planned(tmp_path, **{"request": {}} | sections).warnings
    assert words in warning


def test_a_wrong_simulator_is_found_by_the_plan(tmp_path: Path) -> None:
    """With its place, before a submit would start it."""
    endpoint = {"preset": "simulator", "simulator": {"faults": [{"rate": 0.5, "answer": "bogus"}]}}
    job = JobFolder(tmp_path)
    write_rows(job.rows, 1)
    job.write("", model="mine/small")
    job.job.write_text(json.dumps({**json.loads(job.job.read_text()), "endpoints": {"mine": endpoint}}))
    with pytest.raises(JobError, match=r"endpoints\.mine\.simulator\.faults\.0\.answer"):
        plan(load_job(job.job, env={}, cwd=tmp_path), env={}, on_rows=lambda _: None)


def test_labels_with_logprobs_are_no_reason_to_warn(tmp_path: Path) -> None:
    """What the probabilities are computed from is asked for."""
    request = {"logprobs": True, "top_logprobs": 5}
    assert planned(tmp_path, schema=LABELS, request=request).warnings == ()


def test_the_example_shows_what_is_sent(tmp_path: Path) -> None:
    """The schema as response_format, and the turns as the job spells them."""
    turns = {
        "messages": [{"role": "user", "content": "{{ id }}"}],
        "turns": [{"content": "why {{ answer }}?"}],
    }
    found = planned(tmp_path, prompt=turns, schema=LABELS, request={"logprobs": True, "top_logprobs": 2})
    first = found.examples[0]
    assert first.request["messages"] == [{"role": "user", "content": "r000000"}]
    assert "response_format" not in first.request, "the schema holds for the last answer"
    assert first.turns == ({"role": "user", "content": "why {{ answer }}?"},)


def test_the_first_refusal_says_what_the_family_is_known_to_refuse(tmp_path: Path) -> None:
    """Once, not for every row."""
    config = {"faults": [{"status": 400, "message": "Unsupported parameter: 'temperature'"}]}
    request = {"temperature": 0, "max_completion_tokens": 5}
    with simulated(tmp_path, rows=5, config=config, model="local/o3-mini", request=request) as job:
        env, progress = dict(os.environ), Silent()
        submit(load_job(job.job, env=env, cwd=job.folder), Options(), env=env, progress=progress)
    said = [text for text in progress.said if "o3-mini" in text]
    assert len(said) == 1
    assert "refuses temperature" in said[0]


PRICE = {"input": 1.0, "output": 2.0}
LIMITED = {"max_completion_tokens": 100}


def again(job: JobFolder, *, rerun_changed: bool = False) -> Plan:
    """The plan of a job as it stands in its folder."""
    loaded = load_job(job.job, env=dict(os.environ), cwd=job.folder)
    return plan(loaded, env=dict(os.environ), on_rows=lambda _: None, rerun_changed=rerun_changed)


def test_before_any_answer_the_requests_say_what_they_may_take(tmp_path: Path) -> None:
    """Three prompts of 7 estimated tokens; answers from a few tokens to the limit, half of it likely."""
    found = planned(tmp_path, request=LIMITED, prices={"local/small": PRICE}).forecast
    assert (found.rows, found.sampled) == (3, 0)
    assert found.requests == exactly(3)
    assert found.prompt_tokens == Range(3 * (7 * 0.8), 21, 3 * (7 * 1.5))
    assert found.completion_tokens == Range(48, 150, 300)
    assert found.cost_usd is not None
    assert found.cost_usd.likely == pytest.approx((21 * 1 + 150 * 2) / 1e6)
    assert "half the 100 tokens" in " ".join(found.basis)


def test_without_a_limit_the_high_end_is_open(tmp_path: Path) -> None:
    """Neither tokens nor cost nor time have an upper end, and the plan says why."""
    found = planned(tmp_path, request={}, prices={"local/small": PRICE}).forecast
    assert found.cost_usd is not None
    assert found.completion_tokens.high is found.cost_usd.high is found.seconds.high is None
    assert "no limit" in " ".join(found.basis)


def test_the_limits_of_rows_are_their_own(tmp_path: Path) -> None:
    """A limit that a template gives is taken from the rows; n answers count n times."""
    request = {"max_completion_tokens": "{{ 100 + 50 * n }}", "n": 2}
    assert planned(tmp_path, request=request).forecast.completion_tokens.high == 2 * (100 + 150 + 200)


def test_turns_send_the_transcript_again(tmp_path: Path) -> None:
    """Three asks a row, each with the answers before it: not one prompt."""
    turns = {
        "messages": [{"role": "user", "content": "{{ text }}"}],
        "turns": [{"content": "And now in other words."}, {"content": "Shorter: {{ answer }}"}],
    }
    found = planned(tmp_path, prompt=turns, request=LIMITED).forecast
    assert found.requests == exactly(9)
    assert found.prompt_tokens.likely > 3 * (3 * 7 + 3 * 50)


def test_answered_rows_replace_assumptions(tmp_path: Path) -> None:
    """After `--limit 20`, the other 180 rows by their tokens, cost and calls."""
    prices = {"local/small": PRICE}
    with simulated(tmp_path, rows=200, prices=prices, request=LIMITED) as job:
        before = again(job).forecast
        job.submit_here(limit=20)
        found = again(job).forecast
        job.submit_here()
    rows = job.results().filter(pl.col("row_index") >= 20)
    prompts, outputs = tokens_of(rows)
    assert (found.rows, found.sampled) == (180, 20)
    assert holds(found.prompt_tokens, prompts)
    assert holds(found.completion_tokens, outputs)
    assert holds(found.cost_usd, (prompts + 2 * outputs) / 1e6)
    assert width(found.completion_tokens) < width(before.completion_tokens) / 5


def tokens_of(rows: pl.DataFrame) -> tuple[int, int]:
    """Prompt and answer tokens of results."""
    usage = rows["usage"].struct.unnest()
    return int(usage["prompt_tokens"].sum()), int(usage["completion_tokens"].sum())


def holds(amount: Range | None, truth: float) -> bool:
    assert amount is not None
    assert amount.high is not None
    return amount.low - 1e-9 <= truth <= amount.high + 1e-9


def width(amount: Range) -> float:
    assert amount.high is not None
    return amount.high - amount.low


CACHED = {"input": 1.0, "output": 2.0, "cached": 0.1}
ALIKE = {"messages": [{"role": "user", "content": "word " * 2_000 + "{{ text }}"}]}


@pytest.mark.parametrize("order", ["prefix", "input"])
def test_a_cache_may_make_the_rest_cheaper_than_the_sample(tmp_path: Path, order: str) -> None:
    """The low end holds what the rows cost when nearly all prompts are cached: `at least` is never said."""
    config = {"cost": CACHED, "cache": {"tokens": 1_024, "seconds": 300}}
    sections: dict[str, Any] = {"prompt": ALIKE, "order": order, "prices": {"local/small": CACHED}}
    with simulated(tmp_path, rows=60, config=config, request=LIMITED, **sections) as job:
        job.submit_here(limit=5)
        paid = job.run_json()["cost_usd"]
        found = again(job).forecast
        ended = job.submit_here()
    assert ended.usage["cached_tokens"]
    assert ended.cost_usd is not None
    assert holds(found.cost_usd, ended.cost_usd - paid)


def test_prompts_that_go_together_may_all_be_cached(tmp_path: Path) -> None:
    """With `order: prefix` also before there is any answer; without, nothing is said of a cache."""
    sections: dict[str, Any] = {"request": LIMITED, "prices": {"local/small": CACHED}}
    usual = planned(tmp_path, **sections).forecast.cost_usd
    least = planned(tmp_path, **sections, order="prefix").forecast.cost_usd
    assert usual is not None
    assert least is not None
    prompts, answers = 3 * 7 * 0.8, 3 * 16
    assert usual.low == pytest.approx((prompts + answers * 2) / 1e6, rel=0.05)
    assert least.low == pytest.approx((prompts * 0.1 + answers * 2) / 1e6, rel=0.05)
    assert (least.likely, least.high) == (usual.likely, usual.high)


@pytest.mark.long
@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"canary": 20},
        {"endpoints": {"local": {}}},
        {"prompt": {"messages": [{"role": "user", "content": "{{ text }}"}], "turns": [{"content": "Why?"}]}},
    ],
    ids=["fixed", "canary", "auto", "turns"],
)
def test_the_time_that_it_takes_is_in_the_range(tmp_path: Path, sections: dict[str, Any]) -> None:
    """Before any answer, and after `--limit`: beginning, the first call alone, growing and the last rows."""
    config = {"latency": {"kind": "lognormal", "median": 0.1, "sigma": 0.4, "max": 1}}
    with simulated(tmp_path, rows=250, config=config, **sections) as job:
        before = again(job).forecast.seconds
        first = job.submit_here(limit=20).submit["seconds"]
        after = again(job).forecast.seconds
        rest = job.submit_here().submit["seconds"]
    assert holds(before, first + rest)
    assert holds(after, rest)
    assert after.low < after.likely < width(after)


def test_calls_that_fail_are_calls(tmp_path: Path) -> None:
    """A row that took two calls will take two; so will the next."""
    config = {"faults": [{"match": "please", "first": 1, "status": 500}]}
    retry = {"backoff": {"initial": 0.01}}
    with simulated(tmp_path, rows=20, config=config, retry=retry) as job:
        job.submit_here(limit=5)
        assert again(job).forecast.requests == exactly(30)


def test_a_longer_prompt_costs_more_than_the_last_one(tmp_path: Path) -> None:
    """Changed rows are priced by their earlier answers, and by the length that the prompt has now."""
    with simulated(tmp_path, rows=20, prices={"local/small": PRICE}, request=LIMITED) as job:
        job.submit_here()
        prompts, outputs = tokens_of(job.results())
        longer = "word " * 400 + "{{ text }}"
        job.edit(prompt={"messages": [{"role": "user", "content": longer}]})
        found = again(job, rerun_changed=True).forecast
        earlier = (prompts + 2 * outputs) / 1e6
        assert found.cost_usd is not None
        assert found.cost_usd.likely == pytest.approx(earlier + 20 * 500 / 1e6, rel=0.1)
        assert "older prompt" in found.basis[0]


def test_the_price_of_an_edit_in_words(tmp_path: Path) -> None:
    """For the message of exit code 6: about so much, or tokens and what to do about the price."""
    with simulated(tmp_path, rows=20, prices={"local/small": {"input": 0, "output": 1e6}}) as job:
        job.submit_here("request.max_completion_tokens=8")
        assert said_of_changed(job).startswith("about $")
        job.edit(prices={})
        assert said_of_changed(job).startswith("about $"), "that is what they cost"
    (tmp_path / "unpriced").mkdir()
    with simulated(tmp_path / "unpriced", rows=20) as job:
        job.submit_here("request.max_completion_tokens=8")
        assert "no price known for local/small: give it in prices:" in said_of_changed(job)


def said_of_changed(job: JobFolder) -> str:
    loaded = load_job(job.job, env=dict(os.environ), cwd=job.folder)
    survey = take_survey(loaded, on_rows=lambda _: None, keep_index=False)
    return price_of(survey, survey.states().filter(pl.col("state") == State.CHANGED), now=0.0)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"cost_usd": 1e-5}, "budget.cost_usd: at least $0.00011 is needed, and $0.00001 is left"),
        ({"tokens": 100}, "budget.tokens: up to 340 tokens may be needed, and 100 tokens are left"),
        ({"tokens": 1}, "budget.tokens: at least 65 tokens are needed, and 1 token is left"),
        ({"requests": 2}, "budget.requests: at least 3 requests are needed, and 2 requests are left"),
        ({"wall_time": "1s"}, "budget.wall_time: up to 30 s may be needed, and 1 s a submit is left"),
    ],
)
def test_a_budget_that_may_not_do_is_exit_code_3(tmp_path: Path, budget: dict[str, Any], words: str) -> None:
    """By the high end of the estimate, each part by itself."""
    found = planned(tmp_path, request=LIMITED, prices={"local/small": PRICE}, budget=budget)
    (sentence,) = found.over_budget
    assert sentence.startswith(words)
    assert found.exit_code == 3


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"cost_usd": 1e-5}, "budget.cost_usd: at least $0.00011 is needed, and $0.00001 is left"),
        (
            {"cost_usd": 1.0},
            "budget.cost_usd: nothing bounds what may be needed (likely $0.0016), and $1.00",
        ),
        (
            {"tokens": 9_999},
            "budget.tokens: nothing bounds what may be needed (likely 790 tokens)",
        ),
        (
            {"wall_time": "1h"},
            "budget.wall_time: nothing bounds what may be needed (likely 14 s), and 60",
        ),
    ],
)
def test_what_nothing_bounds_may_exceed_any_budget(
    tmp_path: Path, budget: dict[str, Any], words: str
) -> None:
    """Exit code 3, with what would bound it, as raising the budget does not."""
    sections = {"request": {}, "prices": {"local/small": PRICE}}
    soft = {} if "wall_time" in budget else {"soft": True}
    found = planned(tmp_path, **sections, budget={**budget, **soft})
    (sentence,) = found.over_budget
    assert sentence.startswith(words)
    assert sentence.endswith(
        "or ask for fewer rows." if "at least" in words else "; set request.max_completion_tokens."
    )
    assert (found.obstacles, found.exit_code) == ((), 3)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"tokens": 1_211}, "1,211 tokens are left. The next call may take up to 1,212 tokens: "),
        ({"cost_usd": 0.001}, "$0.001 is left. The next call may cost up to $0.00131: "),
    ],
)
def test_a_cap_that_does_not_hold_the_first_call_lets_nothing_go(
    tmp_path: Path, budget: dict[str, Any], said: str
) -> None:
    """Although the estimate fits: plan says the bound that admission reserves, and what submit then does."""
    with simulated(tmp_path, rows=3, request=LIMITED, prices={"local/small": PRICE}, budget=budget) as job:
        found = again(job)
        (key,) = budget
        assert found.over_budget == (f"budget.{key}: {said}nothing would be sent; raise budget.{key}.",)
        stopped = job.submit_here()
        assert job.calls() == []
    assert (found.exit_code, found.sends, stopped.exit_code) == (3, False, 3)
    assert stopped.stopped_by is not None
    wanted = said.partition("up to ")[2].partition(": ")[0].removesuffix(" tokens")
    assert f"up to {wanted}, more than" in stopped.stopped_by.message


def test_a_cap_that_is_used_up_lets_nothing_go(tmp_path: Path) -> None:
    """There is no call to price: not one more may be made."""
    with simulated(tmp_path, rows=4, budget={"requests": 2}) as job:
        job.submit_here()
        (sentence,) = again(job).over_budget
        assert sentence.endswith("0 of 2 requests are left. Nothing would be sent; raise budget.requests.")
        job.edit(budget={"requests": 2, "per": "day"})
        (sentence,) = again(job).over_budget
        assert sentence.endswith("; raise budget.requests or wait for tomorrow (UTC).")


def test_a_first_call_that_goes_is_not_said_to_stay(tmp_path: Path) -> None:
    """A submit begins, and stops where its estimate says that it may."""
    budget = {"tokens": 1_300}
    with simulated(tmp_path, rows=40, request=LIMITED, budget=budget) as job:
        (sentence,) = again(job).over_budget
        assert "A submit stops there and can be continued" in sentence
        assert again(job).sends
        assert job.submit_here().submit["calls"] > 0


def test_what_is_left_of_a_cap_is_said_once(tmp_path: Path) -> None:
    """The unit stands behind both figures, in the singular where it is one."""
    with simulated(tmp_path, rows=40, budget={"requests": 30}) as job:
        job.submit_here(limit=10)
        (sentence,) = again(job).over_budget
        assert "at least 30 requests are needed, and 20 of 30 requests are left. " in sentence
        job.edit(budget={"requests": 11})
        (sentence,) = again(job).over_budget
        assert ", and 1 of 11 requests is left. " in sentence


@pytest.mark.parametrize("budget", [{}, {"cost_usd": 1, "tokens": 1_212, "requests": 3, "wall_time": "1h"}])
def test_a_budget_that_will_do(tmp_path: Path, budget: dict[str, Any]) -> None:
    """Exit code 0."""
    found = planned(tmp_path, request=LIMITED, prices={"local/small": PRICE}, budget=budget)
    assert (found.over_budget, found.exit_code) == ((), 0)


@pytest.mark.parametrize(("per", "left"), [("run", 34), ("day", 34), ("submit", 40)])
def test_what_is_spent_already_counts(tmp_path: Path, per: str, left: int) -> None:
    """Calls of the run, of today, or none of them."""
    with simulated(tmp_path, rows=40, budget={"requests": 40, "per": per}) as job:
        job.submit_here(limit=6)
        assert again(job).left == {"requests": left}
        assert again(job).over_budget == ()


def test_duplicates_are_asked_once(tmp_path: Path) -> None:
    """With `dedupe`: one request of the equal ones is counted, and how many share its answer."""
    prompt = {"messages": [{"role": "user", "content": "all alike"}]}
    found = planned(tmp_path, prompt=prompt, dedupe=True)
    assert (found.to_do, found.duplicates, found.forecast.rows) == (1, 2, 1)


def test_rows_that_cannot_be_rendered_cost_nothing(tmp_path: Path) -> None:
    """They are to do, and fail before a call."""
    prompt = {"messages": [{"role": "user", "content": "{{ text if n else nothing }}"}]}
    found = planned(tmp_path, prompt=prompt)
    assert (found.to_do, found.forecast.rows) == (3, 2)


def test_limits_say_how_long_it_takes(tmp_path: Path) -> None:
    """Three requests at two a minute: a minute and a half, and the last call."""
    endpoints = {"local": {"limits": {"rpm": 2, "concurrency": 8}}}
    found = planned(tmp_path, endpoints=endpoints).forecast
    assert found.held_by == "requests a minute"
    assert 90 < found.seconds.likely < 95


def test_whole_calls_of_a_short_window_make_less_than_the_minute_says(tmp_path: Path) -> None:
    """100 a minute are 1.67 a second: one goes in each. The time says so, and a note why."""
    limits = {"rpm": 100, "window": "1s", "concurrency": 8}
    found = planned(tmp_path, endpoints={"local": {"limits": limits}}).forecast
    (note,) = found.notes
    assert note.startswith("limits.rpm 100 with a window of 1 s lets 1 request")
    assert note.endswith("so 60 a minute")
    exact = planned(tmp_path, endpoints={"local": {"limits": {**limits, "rpm": 60}}}).forecast
    assert (exact.notes, exact.seconds) == ((), found.seconds)


def test_no_answers_are_expected_to_be_longer_than_their_limit(tmp_path: Path) -> None:
    """Three answers of 33 to 40 tokens say little of the others: but none has more than 40."""
    request = {"max_completion_tokens": 40}
    with simulated(tmp_path, rows=40, request=request, prices={"local/small": PRICE}) as job:
        job.submit_here(limit=3)
        found = again(job).forecast
    assert (found.sampled, found.completion_tokens.high) == (3, 37 * 40)
    assert found.prompt_tokens.high is not None
    assert found.cost_usd is not None
    assert found.cost_usd.high is not None
    assert found.cost_usd.high <= (found.prompt_tokens.high + 2 * 37 * 40) / 1e6 * 1.01


def test_dearer_fallbacks_are_named(tmp_path: Path) -> None:
    """The estimate is for the first model: what rows that fall back cost is said."""
    prices = {"local/small": PRICE, "local/big": {"input": 10, "output": 20}}
    notes = planned(tmp_path, fallbacks=["local/big"], prices=prices).forecast.notes
    assert notes == ("rows that fall back to local/big cost more, about 10 times as much",)


def test_a_plan_that_a_submit_would_refuse_is_exit_code_2(tmp_path: Path) -> None:
    """Also where the budget may not do, as a submit would not come so far; and a submit says the same."""
    (tmp_path / "only").mkdir()
    assert planned(tmp_path / "only", budget=CAP).exit_code == 2
    found = planned(tmp_path, request={}, prices={"local/small": PRICE}, budget={"cost_usd": 1e-5})
    assert found.over_budget
    assert (len(found.obstacles), found.exit_code) == (1, 2)
    with pytest.raises(JobError) as refused:
        JobFolder(tmp_path).submit_here()
    assert refused.value.exit_code == 2


CAP: dict[str, Any] = {"cost_usd": 5.0}
SEARCH: dict[str, Any] = {"web_search_options": {}}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"budget": CAP}, "no price known for local/small"),
        ({"budget": CAP, "prices": {"local/small": PRICE}, "request": {}}, "no limit"),
        ({"budget": {"tokens": 5}, "request": {}}, "budget.tokens: what a request to local/small takes"),
        (
            {
                "budget": CAP,
                "prices": {"local/small": PRICE},
                "request": {**LIMITED, **SEARCH},
            },
            "searches the web",
        ),
    ],
)
def test_a_cap_that_cannot_be_kept_is_an_obstacle(
    tmp_path: Path, sections: dict[str, Any], words: str
) -> None:
    """A cost without a price, requests without an upper bound; `budget.soft` lets them pass."""
    (obstacle,) = planned(tmp_path, **sections).obstacles
    assert words in obstacle
    assert planned(tmp_path, **{**sections, "budget": {**sections["budget"], "soft": True}}).obstacles == ()


def test_caps_that_can_be_kept_are_no_obstacle(tmp_path: Path) -> None:
    """A price and a limit; and for tokens no price is needed."""
    assert planned(tmp_path, budget={"tokens": 10_000}).obstacles == ()
    assert planned(tmp_path, budget=CAP, prices={"local/small": PRICE}).obstacles == ()


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
OWN_MESSAGES: dict[str, Any] = {
    "prompt": {"messages_column": "chat"},
    "prices": {"local/small": PRICE},
    "request": LIMITED,
}


def write_chats(path: Path, rows: int, pictures: Collection[int]) -> None:
    """Rows with messages of their own, some of them with a picture."""
    with path.open("w") as file:
        for n in range(rows):
            parts = [{"type": "text", "text": f"row {n:06d}: look"}, *[PICTURE] * (n in pictures)]
            file.write(json.dumps({"id": f"r{n}", "chat": [{"role": "user", "content": parts}]}) + "\n")


@pytest.mark.parametrize(
    ("pictures", "where"),
    [
        ({150}, "1 of 200 rows is such: rows.jsonl:151."),
        ({120, 150, 199}, "3 of 200 rows are such, the first rows.jsonl:121."),
    ],
)
def test_one_row_without_an_upper_bound_is_found_before_the_first_call(
    tmp_path: Path, pictures: set[int], where: str
) -> None:
    """Wherever it stands: by the plan, and by the submit that says the same and asks for nothing."""
    with simulated(tmp_path, rows=1, **OWN_MESSAGES, budget=CAP) as job:
        write_chats(job.rows, 200, pictures)
        (obstacle,) = again(job).obstacles
        assert obstacle.startswith("budget.cost_usd: what a request to local/small takes has no upper bound")
        assert "messages.0 has a part of type image_url" in obstacle
        assert obstacle.endswith(where)
        with pytest.raises(JobError, match=re.escape(where)):
            job.submit_here()
        assert job.calls() == []
        assert job.submit_here(limit=100).ok == 100, "rows that are not asked for need no bound"


def test_an_answered_row_needs_no_upper_bound(tmp_path: Path) -> None:
    """What a soft budget has let pass is no reason to refuse the rows that are left."""
    with simulated(tmp_path, rows=1, **OWN_MESSAGES, budget={**CAP, "soft": True}) as job:
        write_chats(job.rows, 4, {1})
        job.submit_here(limit=2)
        job.edit(budget=CAP)
        assert again(job).obstacles == ()
        assert job.submit_here().state == "finished"


def test_the_index_is_read_again_when_bounds_hang_on_something_else(tmp_path: Path) -> None:
    """A cap or its removal, the limit of a fallback, prices under a cap on cost: not a cap's amount."""
    loads: list[tuple[dict[str, Any], bool]] = [
        ({}, True),
        ({"budget": {"requests": 50}}, False),
        ({"prices": {"local/small": PRICE}}, False),
        ({"budget": {"tokens": 50_000}}, True),
        ({"budget": {"tokens": 60_000}}, False),
        ({"prices": {}}, False),
        ({"prices": {"local/small": PRICE}, "budget": CAP}, True),
        ({"budget": {"cost_usd": 6.0}}, False),
        ({"prices": {"local/small": {"input": 9, "output": 9}}}, True),
        ({"fallbacks": ["local/big"]}, True),
        ({"budget": {"cost_usd": 6.0, "soft": True}}, True),
        ({"budget": {}}, False),
    ]
    with simulated(tmp_path, rows=3) as job:
        for number, (edit, is_read) in enumerate(loads):
            job.edit(**edit)
            read: list[int] = []
            loaded = load_job(job.job, env=dict(os.environ), cwd=job.folder)
            with locked(RunFolder(loaded.output_path).lock) if number else nullcontext():
                survey = take_survey(loaded, on_rows=read.append, keep_index=number > 0)
            if not number:
                job.submit_here()
                continue
            assert (edit, bool(read)) == (edit, is_read)
            assert (UNBOUNDED in survey.rows.columns) == needs_bounds(loaded)


def test_a_list_price_is_known_by_the_endpoint(tmp_path: Path) -> None:
    """A provider's model has the provider's price; the same name at another host has none."""
    assert planned(tmp_path, model="openai/gpt-4.1-mini").forecast.cost_usd is not None
    assert planned(tmp_path, model="local/gpt-4.1-mini").forecast.cost_usd is None


def test_a_killed_run_tells_as_much(tmp_path: Path) -> None:
    """Answers that are still in the journal count: a submit was killed while one row was stuck."""
    config = {"faults": [{"match": "row 000007:", "stall": 60}]}
    with simulated(tmp_path, rows=8, config=config) as job:
        process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while len(job.calls() if job.ledger.exists() else []) < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.kill()
        process.wait()
        found = again(job)
    assert not list(job.checkpoint.glob("sealed-*"))
    assert (found.forecast.rows, found.forecast.sampled) == (1, 7)


def test_a_long_submit_says_how_fast_the_next_goes(tmp_path: Path) -> None:
    """From a hundred rows on its speed counts, not what calls and latency would allow."""
    with simulated(tmp_path, rows=400) as job:
        job.submit_here(limit=200)
        took = job.run_json()["submit"]["seconds"]
        found = again(job).forecast
    assert found.reached
    assert found.seconds.low <= took <= (found.seconds.high or 0)
