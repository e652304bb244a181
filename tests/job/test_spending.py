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


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("budget: {cost_usd: 0}", "budget.cost_usd: must be an amount of USD above 0"),
        ("budget: {cost_usd: -1}", "budget.cost_usd: must be an amount of USD: a number from 0 on"),
        ("budget: {cost_usd: $5}", "budget.cost_usd: must be an amount of USD: a number from 0 on"),
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
