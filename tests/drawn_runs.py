"""Published runs to draw: rows as given, or made up with everything in them that a report has a chart for."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.run_folder.columns.typed import Types
from batchrun.run_folder.folder import RunFolder

START = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)

LONG = "a label that is much longer than what has room beside its figure on the screen of a telephone"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"enum": [f"class {n}" for n in range(30)]},
        "kind": {"$ref": "#/$defs/kind"},
        "score": {"type": ["number", "null"]},
        "stars": {"type": "integer"},
        "inside": {"type": "object", "properties": {"sure": {"type": "boolean"}, "note": {"type": "string"}}},
    },
    "$defs": {"kind": {"enum": ["日本語のラベル" * 9, "العربية", "<b>bold</b>", LONG]}},
}

PARSED = pa.struct(
    [
        ("label", pa.string()),
        ("kind", pa.string()),
        ("score", pa.float64()),
        ("stars", pa.int64()),
        ("inside", pa.struct([("sure", pa.bool_()), ("note", pa.string())])),
    ]
)

MODELS = ["local/small", f"other/{LONG.replace(' ', '-')}", *(f"p/model-{n}" for n in range(15))]
KINDS = ["rate_limit", "server", "timeout", "connection", "invalid_output", "truncated", "model_not_found"]


def written(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    parsed: pa.DataType = PARSED,
    schema: Any = SCHEMA,
    part: int = 5_000,
) -> RunFolder:
    """A run whose results are these rows, `part` to a file; what a row does not say is null."""
    run = RunFolder(folder)
    generation = run.generations / "000001"
    for path in (generation, run.checkpoint_path):
        path.mkdir(parents=True)
    run.identity_path.write_text(json.dumps({"name": "drawn"}))
    run.run_json.write_text(json.dumps({"state": "finished"}))
    run.job_yaml.write_text(json.dumps({"schema": schema}))
    types = Types(parsed=parsed)
    types.save(run.checkpoint_path)
    for number, start in enumerate(range(0, max(1, len(rows)), part)):
        table = pa.Table.from_pylist(
            [_whole(row) for row in rows[start : start + part]], schema=types.schema()
        )
        pq.write_table(table, generation / f"part-{number:05d}.parquet")
    run.results.symlink_to("generations/000001")
    return run


def _whole(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"row_id": str(row["row_index"]), "status": "ok", "stale": False, "attempts": [], **row}


def call(at: float, latency: float | None = 0.5, **members: Any) -> dict[str, Any]:
    """An attempt that began `at` seconds after START and was answered, unless `members` say otherwise."""
    began = START + timedelta(seconds=at)
    return {"model": MODELS[0], "started_at": began, "latency": latency, "http_status": 200, **members}


def varied(rows: int, *, pause: float = 0) -> Iterator[dict[str, Any]]:
    """Some 50 rows/s with errors, several models and all kinds of answers; halfway a pause in seconds."""
    chance = random.Random(7)
    at = 0.0
    for number in range(rows):
        at += chance.expovariate(50) + (pause if number == rows // 2 else 0)
        model = MODELS[min(len(MODELS) - 1, int(chance.expovariate(0.5)))]
        calls = []
        while chance.random() < 0.3:
            error = KINDS[min(len(KINDS) - 1, int(chance.expovariate(0.5)))]
            calls.append(call(at, 0.1, model=model, http_status=429, error_type=error))
            at += 0.02
        latency = chance.lognormvariate(-1, 0.6)
        usage = {"prompt_tokens": chance.randint(50, 3_000), "completion_tokens": chance.randint(1, 500)}
        calls.append(call(at, latency, model=model, usage=usage))
        yield {
            "row_index": number,
            "completion": f"answer {number}",
            "attempts": calls,
            "latency": latency,
            "finished_at": START + timedelta(seconds=at + latency),
            "finish_reason": chance.choice(["stop"] * 9 + ["length", "content_filter"]),
            "confidence": 1 - chance.random() ** 2 / 2,
            "model": model,
            "usage": usage,
            "cost_usd": chance.random() / 1e4,
            "parsed": _answer(chance),
        }


def _answer(chance: random.Random) -> dict[str, Any]:
    return {
        "label": f"class {min(29, int(chance.expovariate(0.1)))}",
        "kind": chance.choice(SCHEMA["$defs"]["kind"]["enum"]),
        "score": chance.choice([None, chance.gauss(0, 1e4)]),
        "stars": chance.randint(1, 5),
        "inside": {"sure": chance.random() < 0.9, "note": "free text"},
    }
