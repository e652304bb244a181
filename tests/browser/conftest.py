"""A headless Chromium for the tests of this folder, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REQUIRED = "BATCHRUN_REQUIRE_BROWSER"
"""A variable that makes the skip an error, so that CI cannot pass without these tests."""

NAMES = ("chromium", "chromium-browser", "google-chrome")

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""Nothing but the page: no updates, no profile of anybody."""


@pytest.fixture(scope="module")  # playwright runs an event loop: no other module's tests may meet it
def browser() -> Iterator[Browser]:
    """A Chromium with a profile of its own."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    reason = None
    if find_spec("playwright") is None:
        reason = "no browser: playwright is not installed; uv run --group browser pytest has it"
    elif program is None:
        reason = f"no browser: none of {', '.join(NAMES)} is there"
    if reason:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{reason} ({REQUIRED} is set)")
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield started
        started.close()
