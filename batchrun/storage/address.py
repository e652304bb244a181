"""Where something lies in object storage: `s3://bucket/key`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCHEMES = {"s3": "Amazon S3 and what speaks its protocol", "gs": "Google Cloud Storage", "az": "Azure Blob"}
"""What a remote path may begin with."""

_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a bucket (Azure: a container); `key` has no slash at either end, and may be empty."""

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `s3://bucket/key`. Raises ValueError, with what is wrong, for what is no such address."""
        found = _REMOTE.fullmatch(text)
        if found is None or found[1].lower() not in SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ValueError(f"is no address in object storage: those begin with {known}")
        bucket, _, key = found[2].partition("/")
        if not bucket or re.search(r"[@?#\s]", bucket):
            raise ValueError("names no bucket: write scheme://BUCKET/PATH, and nothing secret in it")
        key = key.strip("/")
        if "//" in key or any(part in (".", "..") for part in key.split("/")):
            raise ValueError("must not hold empty parts, `.` or `..`: keys are names, not folders")
        if not key.isprintable():
            raise ValueError("must not hold control characters")
        return cls(found[1].lower(), bucket, key)

    @property
    def root(self) -> Address:
        """The bucket."""
        return Address(self.scheme, self.bucket, "")

    @property
    def parent(self) -> Address:
        """What it lies in: the bucket at the end."""
        return Address(self.scheme, self.bucket, self.key.rpartition("/")[0])

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def below(self, name: str) -> Address:
        """What is called so in it."""
        return Address(self.scheme, self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")


def is_remote(text: str) -> bool:
    """Whether a path names something else than a local file."""
    return _REMOTE.fullmatch(text) is not None


def copy_path(place: Address, env: Mapping[str, str] = os.environ, *, below: Path | None = None) -> Path:
    """Where the run at `place` is worked on, `below` a folder or XDG_STATE_HOME (XDG Base Directory
    Specification): a folder of its own, in which the run folder has the run's name."""
    if below is None:
        given = Path(env.get("XDG_STATE_HOME", ""))
        base = given if given.is_absolute() else Path(env.get("HOME", "~")).expanduser() / ".local/state"
        below = base / "batchrun"
    mark = hashlib.blake2b(str(place).encode(), digest_size=4).hexdigest()
    return below / f"{place.name}-{mark}" / place.name
