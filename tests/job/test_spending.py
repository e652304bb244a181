"""The sections on money: prices and budget, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchrun.errors import JobError
from batchrun.job import load_job
from tests.job.jobs import MINIMAL, load

OPENAI = MINIMAL.replace("simulator/small", "openai/gpt-4.1-mini")


def test_prices_and_budget_are_read(tmp_path: Path) -> None:
    """USD per million tokens by model; kinds that are not given are billed as what they are part of."""
    text = f"{OPENAI}prices: {{openai/gpt-4.1-mini: {{input: 0.4, output: 1.6}}}}\n"
    text += "budget: {cost_usd: 20, tokens: 50000000, requests: 200000, wall_time: 6h, per: day}\n"
    job = load(tmp_path, text)
    price = job.prices["openai/gpt-4.1-mini"]
    assert (price.input, price.output, price.cached, price.request) == (0.4, 1.6, None, 0.0)
    assert (job.budget.cost_usd, job.budget.wall_time, job.budget.per) == (20.0, 21_600.0, "day")


def test_a_free_model_has_a_price(tmp_path: Path) -> None:
    """0 is a price: what runs on one's own machine may be given as costing nothing."""
    job = load(tmp_path, f"{OPENAI}prices: {{openai/gpt-4.1-mini: {{input: 0, output: 0}}}}\n")
    assert job.prices["openai/gpt-4.1-mini"].input == 0


@pytest.mark.parametrize(("given", "share"), [("", 0.5), (", batch: 1", 1.0), (", batch: '${B}'", 0.4)])
def test_what_a_batch_costs_is_a_share_of_the_price(tmp_path: Path, given: str, share: float) -> None:
    """Half where the job does not say."""
    text = f"{OPENAI}prices: {{openai/gpt-4.1-mini: {{input: 1, output: 2{given}}}}}\n"
    assert load(tmp_path, text, env={"B": "0.4"}).prices["openai/gpt-4.1-mini"].batch == share


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("budget: {cost_usd: 0}", "budget.cost_usd: must be an amount of USD: a number above 0"),
        ("budget: {cost_usd: -1}", "budget.cost_usd: must be an amount of USD: a number above 0"),
        ("budget: {cost_usd: $5}", "a number above 0, without quotes or a sign: write 5; found"),
        ("budget: {cost_usd: '20'}", "a number above 0, without quotes or a sign: write 20; found"),
        ("budget: {cost_usd: 20 USD}", "without quotes or a sign: write 20; found"),
        ("budget: {cost_usd: much}", "budget.cost_usd: must be an amount of USD: a number above 0; found"),
        ("budget: {cost_usd: 1e12}", "budget.cost_usd: must be an amount of at most 1000000000 USD"),
        ("budget: {tokens: 5e7}", "must be a whole number; found 50000000.0. Write 50000000."),
        ("budget: {tokens: 50M}", 'must be a whole number; found "50M". Write 50000000.'),
        ("budget: {tokens: 1.5M}", "Write 1500000."),
        ("budget: {tokens: '200'}", "Write 200, without quotes."),
        ("budget: {tokens: many}", 'must be a whole number; found "many".'),
        ("budget: 20", "budget: must be a mapping: write {cost_usd: 20}"),
        ("budget: {per: day}", "budget.per has no effect without cost_usd, tokens or requests"),
        (
            "budget: {per: day, wall_time: 6h}",
            "budget.per has no effect without cost_usd, tokens or requests",
        ),
        ("tail: p99", 'tail: must be a mapping: write {hedge_after: p99}; found "p99".'),
        ("tail: true", "tail: must be a mapping: write {hedge_after: p99}; found true."),
        ("tail: {hedge_after: p49}", "tail.hedge_after: must be p50 to p99.9"),
        ("tail: {hedge_after: 99}", "tail.hedge_after: must be p50 to p99.9"),
        ("tail: hedge_after:p99", "Is a space missing after the colon?"),
        ("prices: {openai/gpt-4.1-mini: 1}", "must be a mapping: write {input: …, output: …}"),
        ("prices: {openai/gpt-4.1-mini: {input: '1', output: 1}}", "without quotes or a sign: write 1"),
        ("prices: {openai/gpt-4.1-mini: {input: 1, output: 1, batch: 0}}", "above 0, at most 1, as 0.5"),
        ("prices: {openai/gpt-4.1-mini: {input: 1, output: 1, batch: 1.5}}", "above 0, at most 1, as 0.5"),
        ("prices: {openai/gpt-4.1-mini: {input: 1, output: 1, batch: 50%}}", "at most 1, as 0.5 for half"),
        ("prices: {openai/gpt-4.1-mini: {input: 1, output: 1, batch: true}}", "must be a share of the price"),
        ("prices: {openai/gpt-4.1-mini: {input: 2e9, output: 1}}", "at most 1000000000 USD"),
        ("budget: {cost_usd: .nan}", "budget.cost_usd: .nan is no number"),
        ("budget: {tokens: 0}", "budget.tokens: must be at least 1"),
        ("budget: {requests: 1.5}", "budget.requests: must be a whole number"),
        ("budget: {per: week}", "budget.per: must be one of run, submit, day"),
        ("budget: {soft: true}", "budget.soft has no effect without cost_usd or tokens"),
        ("budget: {soft: true, requests: 5}", "budget.soft has no effect without cost_usd or tokens"),
        ("prices: {openai/gpt-4.1-mini: {input: 1}}", "prices.openai/gpt-4.1-mini.output is required"),
        ("prices: {openai/gpt-4.1-mini: {input: -1, output: 1}}", "must be an amount of USD"),
        ("prices: {gpt-4.1-mini: {input: 1, output: 1}}", "must be ENDPOINT/MODEL"),
        ("prices: {openia/gpt-4.1-mini: {input: 1, output: 1}}", "Did you mean openai/gpt-4.1-mini?"),
        ("prices: {openai/GPT-4.1-mini: {input: 1, output: 1}}", "Did you mean openai/gpt-4.1-mini?"),
        ("prices: {openai/gtp-4.1-mini: {input: 1, output: 1}}", "Did you mean openai/gpt-4.1-mini?"),
        ("prices: {'openai/*': {input: 1, output: 1}}", "a price is one model's"),
    ],
)
def test_wrong_amounts_and_prices_say_what_is_right(tmp_path: Path, added: str, message: str) -> None:
    """Each names line 6, the key, and the nearest right value."""
    with pytest.raises(JobError) as caught:
        load(tmp_path, f"{OPENAI}{added}\n")
    assert "job.yaml:6: " in str(caught.value)
    assert message in str(caught.value)


def test_what_a_variable_holds_is_not_quoted(tmp_path: Path) -> None:
    """It may be what should not be shown."""
    text = f"{OPENAI}budget: {{cost_usd: '${{AMOUNT}}'}}\n"
    assert load(tmp_path, text, env={"AMOUNT": "20"}).budget.cost_usd == 20
    with pytest.raises(JobError) as caught:
        load(tmp_path, text, env={"AMOUNT": "$4711"})
    assert "must be an amount of USD: a number above 0" in str(caught.value)
    assert "4711" not in str(caught.value)


def test_a_cap_can_be_lifted_in_the_shell(tmp_path: Path) -> None:
    """The rest of the section then stands for nothing, which is no mistake."""
    text = f"{OPENAI}budget: {{cost_usd: 5, per: day}}\n"
    assert load(tmp_path, text, sets=["budget.cost_usd=null"]).budget.cost_usd is None


@pytest.mark.parametrize(
    ("given", "asked", "is_slip"),
    [
        ("gpt-4.1-mimi", "gpt-4.1-mini", True),  # a letter
        ("gpt-4.1-minii", "gpt-4.1-mini", True),
        ("gpt-4.1-min", "gpt-4.1-mini", True),
        ("gpt-4.1-imni", "gpt-4.1-mini", True),
        ("gpt4.1-mini", "gpt-4.1-mini", True),  # a separator
        ("gpt_4.1_mini", "gpt-4.1-mini", True),
        ("GPT-4.1-Mini", "gpt-4.1-mini", True),
        ("org/gpt-4.1-mimi", "org/gpt-4.1-mini", True),
        ("gpt-4.1-nano", "gpt-4.1-mini", False),  # a word
        ("gpt-4.1", "gpt-4.1-mini", False),
        ("gpt-4.2-mini", "gpt-4.1-mini", False),  # a digit
        ("gpt-41-mini", "gpt-4.1-mini", False),
        ("gpt-4o", "gpt-4", False),
        ("qwen-xs", "qwen-xl", False),
        ("ogr/gpt-4.1-mini", "org/gpt-4.1-mini", False),  # another owner's
        ("org/openai/gpt-4.1-mini", "org/openai/gpt-4.1-nano", False),
    ],
)
def test_only_a_slip_of_a_letter_is_a_misspelling(
    tmp_path: Path, given: str, asked: str, is_slip: bool
) -> None:
    """Models of one family have long names that differ by a word or a digit."""
    text = MINIMAL.replace("simulator/small", f"openrouter/{asked}")
    text += f"prices: {{openrouter/{given}: {{input: 1, output: 1}}}}\n"
    if not is_slip:
        assert load(tmp_path, text).prices
        return
    with pytest.raises(JobError, match=rf"Did you mean openrouter/{asked}\?"):
        load(tmp_path, text)


def test_a_model_of_the_shell_is_no_correction_of_a_price(tmp_path: Path) -> None:
    """The price is that of the job's own model, which this run does not ask."""
    text = MINIMAL.replace("simulator/small", "openrouter/org/chat-large")
    text += "prices: {openrouter/org/chat-large: {input: 1, output: 1}}\n"
    assert load(tmp_path, text, model="openrouter/org/chat-larges").prices
    assert load(tmp_path, text, sets=["model=openrouter/org/chat-larges"]).prices


def test_a_price_without_its_endpoint_names_the_model(tmp_path: Path) -> None:
    """`Qwen/Qwen3-32B` is how a model is called; its endpoint comes first."""
    text = MINIMAL.replace("simulator/small", "vllm/Qwen/Qwen3-32B")
    with pytest.raises(JobError, match=r"no endpoint Qwen\. Did you mean vllm/Qwen/Qwen3-32B\?"):
        load(tmp_path, f"{text}prices: {{Qwen/Qwen3-32B: {{input: 0, output: 0}}}}\n")


def test_prices_of_models_that_another_run_asks_may_stay(tmp_path: Path) -> None:
    """`--model` chooses among the models of a comparison; their prices stand in one job file."""
    text = f"{OPENAI}prices:\n  openai/gpt-4.1-mini: {{input: 1, output: 1}}\n"
    for other in ("openai/gpt-4.1-nano", "openai/gpt-5", "vllm/Qwen3-32B"):
        assert load(tmp_path, text, model=other).prices.keys() == {"openai/gpt-4.1-mini"}


def test_a_job_with_prices_is_loaded_again(tmp_path: Path) -> None:
    """What was accepted is accepted when the file is read without the shell's options."""
    text = f"{OPENAI}prices: {{openai/gpt-5: {{input: 1, output: 1}}}}\n"
    load(tmp_path, text)
    assert load_job(tmp_path / "job.yaml", env={}, cwd=tmp_path).prices
