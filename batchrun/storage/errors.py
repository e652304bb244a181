"""What a store refuses, as errors of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from batchrun.errors import ObjectStorageError
from batchrun.storage.address import Address

_SETTINGS = {
    "s3": "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (AWS_ENDPOINT_URL for another server "
    "than Amazon's); profiles are read where boto3 is installed.",
    "gs": "Set GOOGLE_SERVICE_ACCOUNT to the path of a service account's JSON file, or run "
    "`gcloud auth application-default login`.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or run `az login` and set "
    "AZURE_USE_AZURE_CLI=true.",
}
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_NO_BUCKET = re.compile(r"<Code>(NoSuchBucket|ContainerNotFound)</Code>")
_SECRET = re.compile(r"(?<=//)[^/@\s]*@|\?\S*")
"""In a URL: a user with a password, and parameters, one of which may be a token."""
_STATUS = re.compile(r"status code: (\d{3}[^:]*)")


def require_bucket(at: Address, error: Exception) -> None:
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
def translated(at: Address, doing: str, key: str) -> Iterator[None]:
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
