"""The results' columns beside the input's, and their types.

The same columns with the same types are in every part, however many nulls a part holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from batchrun.outcome import Usage
from batchrun.run_folder.columns.choice_columns import (
    ANNOTATIONS,
    AUDIO,
    CHOICES,
    LOGPROBS,
    PROMPT_LOGPROBS,
    TEXT,
    TOKEN_IDS,
    TOOL_CALLS,
)

TIME = pa.timestamp("us", tz="UTC")
USAGE = pa.struct([(name, pa.int64()) for name in Usage.__dataclass_fields__])
ERROR = pa.struct([("type", TEXT), ("code", TEXT), ("http_status", pa.int32()), ("message", TEXT)])
ATTEMPT = pa.struct(
    [
        ("model", TEXT),
        ("endpoint", TEXT),
        ("started_at", TIME),
        ("latency", pa.float64()),
        ("http_status", pa.int32()),
        ("error_type", TEXT),
        ("request_id", TEXT),
        ("usage", USAGE),
        ("sent", pa.bool_()),
        ("batch_id", TEXT),
    ]
)
ATTEMPTS = pa.list_(ATTEMPT)

RESULT_SCHEMA = pa.schema(
    [
        ("row_index", pa.int64()),
        ("row_id", TEXT),
        ("status", TEXT),
        ("repaired", pa.bool_()),
        ("stale", pa.bool_()),
        ("duplicate_of", TEXT),
        ("completion", TEXT),
        ("parsed", TEXT),
        ("refusal", TEXT),
        ("reasoning", TEXT),
        ("finish_reason", TEXT),
        ("tool_calls", TOOL_CALLS),
        ("logprobs", LOGPROBS),
        ("confidence", pa.float64()),
        ("probabilities", TEXT),
        ("choices", CHOICES),
        ("messages", TEXT),
        ("prompt_logprobs", PROMPT_LOGPROBS),
        ("refusal_logprobs", LOGPROBS),
        ("token_ids", TOKEN_IDS),
        ("annotations", ANNOTATIONS),
        ("audio", AUDIO),
        ("usage", USAGE),
        ("cost_usd", pa.float64()),
        ("model", TEXT),
        ("response_model", TEXT),
        ("endpoint", TEXT),
        ("batch_id", TEXT),
        ("model_index", pa.int32()),
        ("error_type", TEXT),
        ("error", ERROR),
        ("attempts", ATTEMPTS),
        ("latency", pa.float64()),
        ("ttft", pa.float64()),
        ("started_at", TIME),
        ("finished_at", TIME),
        ("response_id", TEXT),
        ("system_fingerprint", TEXT),
        ("service_tier", TEXT),
        ("request_hash", TEXT),
    ]
)
"""Every column of ours, in the results' order; input columns stand after `row_id`.

What the job decides the type of is JSON text here, in the checkpoint: `parsed`, also in `choices`,
`probabilities` and `messages`. Only a publication knows `stale` and `duplicate_of`.
"""

COLUMNS_OF_ALL_VERSIONS = (
    *("row_index", "row_id", "status", "stale", "completion", "usage", "cost_usd", "error_type", "error"),
    *("attempts", "latency", "finished_at", "request_hash"),
)
"""By these results are known for results, whichever version published them."""

EARLIER_COLUMNS = ["attempts", "usage", "cost_usd"]
"""What `earlier_askings` needs of a failed row."""


def earlier_askings(failed: Mapping[str, Any]) -> dict[str, Any]:
    """What a row that is asked again has taken so far, for `Done.earlier`: from its failed result."""
    attempts = failed["attempts"] or []
    return {
        "attempts": [{**attempt, "started_at": attempt["started_at"].timestamp()} for attempt in attempts],
        "usage": failed["usage"],
        "cost_usd": failed["cost_usd"],
    }
