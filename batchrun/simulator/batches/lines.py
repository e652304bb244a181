"""The lines of a batch's files: the requests as they are checked, and what came of each. Pure."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from batchrun.codec import dumps, loads

ENDPOINT = "/v1/chat/completions"

Cut: TypeAlias = Literal["batch_expired", "batch_cancelled"]

_CUT: dict[Cut, str] = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed: the batch was cancelled.",
}


class Line(NamedTuple):
    """A request, and where it is in the file: 50,000 of them may be 200 MB."""

    custom_id: str
    start: int
    end: int


class WrongLineError(Exception):
    """The file is no batch; a code of the API, and words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Checker:
    """Checks one line after another. `models`: whether all must name the same."""

    def __init__(self, models: Literal["any", "one"]) -> None:
        self._models = models
        self._seen: set[str] = set()
        self._model: Any = None

    def check(self, line: bytes) -> tuple[str, bytes]:
        """The id of a request, and its body. Raises WrongLineError."""
        try:
            asked = loads(line)
        except ValueError:
            text = "This line is not parseable as valid JSON."
            raise WrongLineError("invalid_json_line", text) from None
        if not isinstance(asked, dict) or not isinstance(custom_id := asked.get("custom_id"), str):
            raise WrongLineError("missing_required_parameter", "`custom_id` is required.")
        if custom_id in self._seen:
            text = f"The custom_id '{custom_id}' is in the file twice."
            raise WrongLineError("duplicate_custom_id", text)
        if asked.get("method") != "POST" or asked.get("url") != ENDPOINT:
            raise WrongLineError("mismatched_endpoint", f"`method` must be POST and `url` {ENDPOINT}.")
        if not isinstance(body := asked.get("body"), dict):
            raise WrongLineError("missing_required_parameter", "No `body`.")
        self._check_model(body.get("model"))
        self._seen.add(custom_id)
        return custom_id, dumps(body)

    def _check_model(self, model: Any) -> None:
        if not self._seen:
            self._model = model
        elif self._models == "one" and model != self._model:
            text = f"The model '{model}' is not that of the first line, '{self._model}'."
            raise WrongLineError("mismatched_model", text)


def body_of(line: bytes) -> bytes:
    """The body of a request that was checked."""
    return dumps(loads(line)["body"])


def answered(request_id: str, custom_id: str, status: int, body: bytes) -> bytes:
    """The line of a request that was answered, with whatever status."""
    response = {"status_code": status, "request_id": request_id, "body": loads(body)}
    return dumps({"id": request_id, "custom_id": custom_id, "response": response, "error": None}) + b"\n"


def unanswered(request_id: str, custom_id: str, code: Cut) -> bytes:
    """The line of a request that never will be."""
    error = {"code": code, "message": _CUT[code]}
    return dumps({"id": request_id, "custom_id": custom_id, "response": None, "error": error}) + b"\n"
