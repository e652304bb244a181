"""The input files of OpenAI's Batch API and of `vllm run-batch`: JSON Lines of whole requests.

Each line is `{"custom_id": …, "method": "POST", "url": "/v1/chat/completions", "body": {…}}` (OpenAI,
Batch guide; vLLM, `BatchRequestInput`). A line that is no such request is a bad row. Members beside
these four are columns too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from batchrun.source import jsonl
from batchrun.source.batch import Reading
from batchrun.source.files import SourceFile
from batchrun.source.marks import Mark

ID_COLUMN = "custom_id"
TYPES = {"body": "json"}
"""The columns' types where `input.types` names none, by its names."""


def read(
    file: SourceFile,
    first: int,
    columns: Collection[str] | None,
    *,
    start: int = 0,
    mark: Mark | None = None,
) -> Reading:
    """Yield the file's rows, numbered from `first`; see `Source.batches`. `mark` is where to begin."""
    return jsonl.read(file, first, columns, check=refuse, kept=ID_COLUMN, start=start, mark=mark)


def refuse(values: dict[str, Any]) -> None:
    """Raise ValueError for an object that is no request to the Chat Completions API."""
    custom_id, method, url = (values.get(name) for name in (ID_COLUMN, "method", "url"))
    if not isinstance(custom_id, str) or not custom_id:
        raise ValueError(_unfit(values, ID_COLUMN, "a text that names the request"))
    if method != "POST":
        raise ValueError(_unfit(values, "method", '"POST"'))
    if not isinstance(url, str) or not url.endswith("/chat/completions"):
        raise ValueError(_unfit(values, "url", '"/v1/chat/completions", the one API that is asked'))
    if not isinstance(values.get("body"), dict):
        raise ValueError(_unfit(values, "body", "an object, the request"))


def _unfit(values: dict[str, Any], name: str, wanted: str) -> str:
    if name not in values:
        return f"no request of an openai-batch: it has no `{name}`, which is {wanted}"
    found = repr(values[name])
    found = found if len(found) <= 80 else f"{found[:80]}…"
    return f"no request of an openai-batch: `{name}` is {found}, not {wanted}"
