"""What a call takes, as it is learned from those that have ended."""

from __future__ import annotations

from pathlib import Path

from batchrun.answer.needs import Estimator
from batchrun.outcome import Usage
from batchrun.prices import ModelPrices
from batchrun.render.renderer import Renderer
from tests.stack import job_of


def test_what_several_choices_took_is_learned_for_each(tmp_path: Path) -> None:
    """Usage adds the four answers up: the next request is expected to take as much, not four times that."""
    job = job_of(tmp_path, {"request": {"n": 4, "max_completion_tokens": 200}})
    estimator = Estimator(job.models, ModelPrices(job, 0.0), None)
    request = Renderer(job).render({"text": "hello"})
    for _ in range(30):
        needs = estimator.needs(request, 0, b"{}", is_prompt=True, row_id="r0")
        estimator.learn(0, needs, Usage(prompt_tokens=needs.prompt, completion_tokens=40))
    needs = estimator.needs(request, 0, b"{}", is_prompt=True, row_id="r0")
    assert needs.size.expected == needs.prompt + 40
