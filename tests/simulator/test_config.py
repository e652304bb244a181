"""How a simulator is described."""

from __future__ import annotations

import re
import textwrap

import pytest
from click.testing import CliRunner

from batchrun.cli.simulate import command
from batchrun.job.document.document import read_document
from batchrun.simulator import SimulatorConfig
from batchrun.simulator import config as module
from batchrun.simulator.config import BatchFault

BLOCKS = re.findall(r"(?:^    .*\n)+", module.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=["most", "steps", "batches"])
def test_the_examples_of_the_docstring_are_right(block: str) -> None:
    """They can be read, and a round trip through JSON, the way into another process, keeps all."""
    document = read_document(textwrap.dedent(block))
    assert not document.problems
    given = document.value
    config = SimulatorConfig.model_validate(given)
    assert config.model_dump(exclude_unset=True).keys() == given.keys()
    assert config == SimulatorConfig.model_validate_json(config.model_dump_json())


def test_the_help_names_every_option() -> None:
    """`simulate --help` is where users learn of them."""
    shown = CliRunner().invoke(command, ["--help"]).output
    models = (
        *(SimulatorConfig, module.Limits, module.Cache, module.Prices, module.Key),
        *(module.BatchRule, BatchFault, module.StoredRule),
    )
    names = {name for model in models for name in model.model_fields}
    assert {name for name in names if not re.search(rf"\b{name}:", shown)} == set()
