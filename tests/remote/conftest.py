"""A bucket for each test, and an environment that leads to it and nowhere else."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrun.storage import Address
from tests.remote.server import Between, between, make_bucket, s3_server

_BUCKETS = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


def _environment(patch: pytest.MonkeyPatch, url: str, state: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            patch.delenv(name)
    patch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-test")
    patch.setenv("AWS_REGION", "us-east-1")
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("XDG_STATE_HOME", str(state))


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Address:
    """An empty bucket, which the environment leads to."""
    name = f"bucket-{os.getpid()}-{next(_BUCKETS)}"
    make_bucket(server, name)
    _environment(monkeypatch, server, tmp_path / "state")
    return Address("s3", name, "")


@pytest.fixture
def faulty(
    server: str, bucket: Address, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Between]:
    """What stands between batchrun and the server of `bucket`."""
    with between(server) as found:
        _environment(monkeypatch, found.url, tmp_path / "state")
        yield found
