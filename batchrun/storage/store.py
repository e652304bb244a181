"""Objects: read, written, and written only where nobody else has written meanwhile.

Conditional writes (`create`, `replace`) are what leases and manifests hang on. A store may have done one
whose answer was lost on the way, and then refuses the repeated request: so a refusal is believed only when
the object does not hold the very bytes that were to be written. Callers make those bytes their own.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from batchrun.errors import ObjectStorageError
from batchrun.storage.address import Address
from batchrun.storage.errors import require_bucket, translated

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

Version: TypeAlias = Mapping[str, str]
"""Names one writing of an object: its entity tag, and the store's own number where it has one."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
}


class ConflictError(Exception):
    """The object is not as it was when it was read: somebody else has written it, or made it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try again when a store does not answer, or answers that it cannot now; in seconds."""

    retries: int = 10
    total: float = 120.0
    request: float = 60.0


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing tells of it."""

    key: str
    size: int
    version: Version


class Store:
    """The objects below an address. Everything raises ObjectStorageError when the store refuses or is away.

    Keys are relative to the address; `objects` are all those of its bucket. Methods wait, and may be called
    from any thread.
    """

    def __init__(self, at: Address, objects: ObjectStore) -> None:
        self.at = at
        self._objects = objects
        self._skip = len(at.key) + 1 if at.key else 0

    def _full(self, key: str) -> str:
        return self.at.below(key).key

    def _listed(self, meta: Mapping[str, Any]) -> Listed:
        return Listed(meta["path"][self._skip :], meta["size"], _version(meta))

    def read(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        found = self.read_version(key)
        return found and found[0]

    def read_version(self, key: str) -> tuple[bytes, Version] | None:
        """The same, with which writing of it that is."""
        with translated(self.at, "read", key):
            try:
                found = self._objects.get(self._full(key))
                return bytes(found.bytes()), _version(found.meta)
            except FileNotFoundError as error:
                require_bucket(self.at, error)
                return None

    def read_range(self, key: str, start: int, end: int, version: Version) -> bytes:
        """Some bytes of one writing of an object. Raises ConflictError when there is another now."""
        from obstore.exceptions import PreconditionError

        options: Any = {"range": (start, end)}
        if tag := version.get("e_tag"):
            options["if_match"] = tag
        with translated(self.at, "read", key):
            try:
                return bytes(self._objects.get(self._full(key), options=options).bytes())
            except PreconditionError:
                raise ConflictError(key) from None

    def about(self, key: str) -> Listed | None:
        """What a listing would say of one object; None where there is none."""
        if not key:
            return None
        with translated(self.at, "look at", key):
            try:
                return self._listed(self._objects.head(self._full(key)))
            except FileNotFoundError as error:
                require_bucket(self.at, error)
                return None

    def listing(self, prefix: str = "") -> Iterator[Listed]:
        """All objects whose keys begin with the parts of `prefix`, in the order of their keys; without those
        that only stand for a folder."""
        with translated(self.at, "list", prefix):
            whole = "/".join(part for part in (self.at.key, prefix) if part)
            found = [self._listed(item) for chunk in self._objects.list(whole or None) for item in chunk]
        folders = {parent for item in found for parent in _above(item.key)}
        shown = (item for item in found if item.size or not _is_folder(item.key, folders))
        yield from sorted(shown, key=lambda item: item.key)

    def write(self, key: str, data: bytes | Path) -> Version:
        """Write an object, whatever is there."""
        with translated(self.at, "write", key):
            # parts of 5 MB, few at a time: over a slow line each must arrive within `Patience.request`
            return _version(self._objects.put(self._full(key), data, max_concurrency=2))

    def create(self, key: str, data: bytes) -> Version:
        """Write an object that is not there yet. Raises ConflictError where it is."""
        return self._put_if(key, data, "create")

    def replace(self, key: str, data: bytes, version: Version) -> Version:
        """Write an object that still is of that version. Raises ConflictError where it is another."""
        return self._put_if(key, data, dict(version))

    def _put_if(self, key: str, data: bytes, mode: Any) -> Version:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with translated(self.at, "write", key):
            try:
                return _version(self._objects.put(self._full(key), data, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                require_bucket(self.at, error)
        found = self.read_version(key)
        if found is not None and found[0] == data:  # it was done, and only the answer got lost
            return found[1]
        raise ConflictError(key)

    def fetch(self, key: str, path: Path) -> None:
        """Append an object's bytes to a local file. Raises ObjectStorageError where it is not there, too."""
        with translated(self.at, "read", key), path.open("ab") as file:
            for chunk in self._objects.get(self._full(key)).stream(min_chunk_size=4_000_000):
                file.write(chunk)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no error."""
        for key in keys:
            with translated(self.at, "remove", key):
                try:
                    self._objects.delete(self._full(key))
                except FileNotFoundError as error:
                    require_bucket(self.at, error)


def open_store(at: Address, patience: Patience = Patience()) -> Store:
    """The objects below an address, by what the environment says of credentials, region and server.

    Plain http only to this machine, unless AWS_ALLOW_HTTP and its like say otherwise. Nothing is sent yet.
    Raises ObjectStorageError for an environment that is wrong.
    """
    from obstore.store import from_url

    retry: RetryConfig = {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.total),
        "backoff": {"max_backoff": timedelta(seconds=5)},
    }
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=min(10.0, patience.request)),
        "timeout": timedelta(seconds=patience.request),
    }
    if _is_loopback(at.scheme):
        client["allow_http"] = True
    provider = _profile(at)
    with translated(at, "open", ""):
        given: Any = {"client_options": client, "retry_config": retry, **provider}
        return Store(at, from_url(str(at.root), **given))


def polars_options(at: Address) -> dict[str, str]:
    """What polars must be told to read where `open_store` does; it reads the same environment."""
    return {"allow_http": "true"} if _is_loopback(at.scheme) else {}


def _is_loopback(scheme: str) -> bool:
    """Whether the server that the environment names is this machine. Raises ObjectStorageError for what is no
    URL, whose value is not repeated: there may be a password in it."""
    name = next((name for name in _ENDPOINTS[scheme] if os.environ.get(name)), None)
    if name is None:
        return False
    with suppress(ValueError):
        server = urlsplit(os.environ[name])
        if server.scheme in ("http", "https") and server.hostname and server.port != 0:
            return server.hostname in _LOOPBACK
    raise ObjectStorageError(
        f"{name} is no URL of a server", hint="Write http://HOST:PORT or https://HOST.", refused=True
    )


def _profile(at: Address) -> dict[str, Any]:
    """Where no key is in the environment: what a profile gives, if boto3 is there to read it."""
    named = "AWS_ACCESS_KEY_ID" in os.environ or "AWS_WEB_IDENTITY_TOKEN_FILE" in os.environ
    if at.scheme != "s3" or named or importlib.util.find_spec("boto3") is None:
        return {}
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return {"credential_provider": Boto3CredentialProvider()}
    except ValueError:  # it knows none either
        return {}


def _above(key: str) -> Iterator[str]:
    return (key[:at] for at, letter in enumerate(key) if letter == "/")


def _is_folder(key: str, folders: set[str]) -> bool:
    """Whether an empty object is what consoles make where one asks for a folder: the listing has its key
    without the slash at its end."""
    return not key or key in folders or "." not in key.rpartition("/")[2]


def _version(meta: Mapping[str, Any]) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name)}
