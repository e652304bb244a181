"""One llama.cpp server for all tests of this folder, or the reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.real_engine.engine import KEY, KEY_VARIABLE, Engine, started

REQUIRED = "BATCHRUN_REQUIRE_ENGINE"
"""A variable that makes the skip an error, so that CI cannot pass without these tests."""


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """llama.cpp's server with a small model of random weights."""
    missing = [name for name in ("gguf", "xllamacpp") if find_spec(name) is None]
    if missing:
        reason = (
            f"no real engine: {' and '.join(missing)} not installed; uv run --group engine pytest has them"
        )
        if os.environ.get(REQUIRED):
            pytest.fail(f"{reason} ({REQUIRED} is set)")
        pytest.skip(reason)
    from tests.real_engine.model import write_model  # needs gguf

    folder = tmp_path_factory.mktemp("engine")
    with started(write_model(folder / "random.gguf"), folder / "server.log") as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's key, where the jobs look for it."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
