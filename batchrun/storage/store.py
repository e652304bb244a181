"""Objects: read, written, and written only where nobody else has written meanwhile.

Conditional writes (`create`, `replace`) are what leases and manifests hang on. A store may have done one
whose answer was lost on the way, and then refuses the repeated request: so a refusal is believed only when
the object does not hold the very bytes that were to be written. Callers make those bytes their own.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from batchrun.errors import ObjectStorageError
from batchrun.storage.address import Address

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

Version: TypeAlias = Mapping[str, str]
"""Names one writing of an object: its entity tag, and the store's own number where it has one."""

_SETTINGS = {
    "s3": "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (AWS_ENDPOINT_URL for another server "
    "than Amazon's); profiles are read where boto3 is installed.",
    "gs": "Set GOOGLE_SERVICE_ACCOUNT to the path of a service account's JSON file, or run "
    "`gcloud auth application-default login`.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or run `az login` and set "
    "AZURE_USE_AZURE_CLI=true.",
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
}
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_NO_BUCKET = re.compile(r"<Code>(NoSuchBucket|ContainerNotFound)</Code>")
_SECRET = re.compile(r"(?<=//)[^/@\s]*@|\?\S*")
"""In a URL: a user with a password, and parameters, one of which may be a token."""
_STATUS = re.compile(r"status code: (\d{3}[^:]*)")


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
    """An object as a listing tells of it; `changed_ns` since the epoch."""

    key: str
    size: int
    version: Version
    changed_ns: int


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
        changed = round(meta["last_modified"].timestamp() * 1e6) * 1000
        return Listed(meta["path"][self._skip :], meta["size"], _version(meta), changed)

    def read(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        found = self.read_version(key)
        return found and found[0]

    def read_version(self, key: str) -> tuple[bytes, Version] | None:
        """The same, with which writing of it that is."""
        with _translated(self.at, "read", key):
            try:
                found = self._objects.get(self._full(key))
                return bytes(found.bytes()), _version(found.meta)
            except FileNotFoundError as error:
                _require_bucket(self.at, error)
                return None

    def read_range(self, key: str, start: int, end: int, version: Version) -> bytes:
        """Some bytes of one writing of an object. Raises ConflictError when there is another now."""
        from obstore.exceptions import PreconditionError

        options: Any = {"range": (start, end)}
        if tag := version.get("e_tag"):
            options["if_match"] = tag
        with _translated(self.at, "read", key):
            try:
                return bytes(self._objects.get(self._full(key), options=options).bytes())
            except PreconditionError:
                raise ConflictError(key) from None

    def about(self, key: str) -> Listed | None:
        """What a listing would say of one object; None where there is none."""
        if not key:
            return None
        with _translated(self.at, "look at", key):
            try:
                return self._listed(self._objects.head(self._full(key)))
            except FileNotFoundError as error:
                _require_bucket(self.at, error)
                return None

    def listing(self, prefix: str = "") -> Iterator[Listed]:
        """All objects whose keys begin with the parts of `prefix`, in the order of their keys."""
        with _translated(self.at, "list", prefix):
            whole = "/".join(part for part in (self.at.key, prefix) if part)
            found = [self._listed(item) for chunk in self._objects.list(whole or None) for item in chunk]
        yield from sorted(found, key=lambda item: item.key)

    def write(self, key: str, data: bytes | Path) -> Version:
        """Write an object, whatever is there."""
        with _translated(self.at, "write", key):
            return _version(self._objects.put(self._full(key), data))

    def create(self, key: str, data: bytes) -> Version:
        """Write an object that is not there yet. Raises ConflictError where it is."""
        return self._put_if(key, data, "create")

    def replace(self, key: str, data: bytes, version: Version) -> Version:
        """Write an object that still is of that version. Raises ConflictError where it is another."""
        return self._put_if(key, data, dict(version))

    def _put_if(self, key: str, data: bytes, mode: Any) -> Version:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _translated(self.at, "write", key):
            try:
                return _version(self._objects.put(self._full(key), data, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                _require_bucket(self.at, error)
        found = self.read_version(key)
        if found is not None and found[0] == data:  # it was done, and only the answer got lost
            return found[1]
        raise ConflictError(key)

    def fetch(self, key: str, path: Path) -> None:
        """Append an object's bytes to a local file. Raises ObjectStorageError where it is not there, too."""
        with _translated(self.at, "read", key), path.open("ab") as file:
            for chunk in self._objects.get(self._full(key)).stream(min_chunk_size=4_000_000):
                file.write(chunk)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no error."""
        for key in keys:
            with _translated(self.at, "remove", key):
                try:
                    self._objects.delete(self._full(key))
                except FileNotFoundError as error:
                    _require_bucket(self.at, error)


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
    with _translated(at, "open", ""):
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


def _version(meta: Mapping[str, Any]) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name)}


def _require_bucket(at: Address, error: Exception) -> None:
    """An object that is not there is an answer; a bucket that is not there is an error."""
    if _NO_BUCKET.search(str(error)):
        raise _no_bucket(at) from None


def _no_bucket(at: Address) -> ObjectStorageError:
    return ObjectStorageError(
        f"{at.root}: there is no such bucket",
        hint="Make it first, or correct its name; batchrun makes no buckets.",
        refused=True,
    )


@contextmanager
def _translated(at: Address, doing: str, key: str) -> Iterator[None]:
    """What obstore raises as ObjectStorageError. Its texts quote answers that may hold credentials: of
    those, only the server's code and status are told."""
    from obstore.exceptions import BaseError

    place = at.below(key) if key else at
    try:
        yield
    except (BaseError, FileNotFoundError, TimeoutError) as error:
        raise _error(place, doing, error) from None


def _error(place: Address, doing: str, error: Exception) -> ObjectStorageError:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    text = str(error)
    if _NO_BUCKET.search(text):
        return _no_bucket(place)
    if "169.254.169.254" in text or "metadata.google.internal" in text:
        return ObjectStorageError(
            f"cannot {doing} {place}: no credentials were found", hint=_SETTINGS[place.scheme], refused=True
        )
    code = _CODE.search(text)
    status = _STATUS.search(text)
    said = " ".join(found[1].strip() for found in (status, code) if found)
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    if denied or (status and status[1].startswith(("401", "403"))):
        return ObjectStorageError(
            f"cannot {doing} {place}: refused ({said})",
            hint=f"Check that the credentials are right, and allowed this. {_SETTINGS[place.scheme]}",
            refused=True,
        )
    why = said or _first_sentence(text)
    return ObjectStorageError(
        f"cannot {doing} {place}: {why}",
        hint="Everything received before this is kept. Submit again when the storage can be reached.",
    )


def _first_sentence(text: str) -> str:
    """What obstore says itself, without the answer that it quotes and its own innards."""
    head = text.split("\n", 1)[0].split("<?xml")[0].split("Server returned")[0]
    return _SECRET.sub("", head).strip(" -:")[:300] or "no answer"
