"""The job as it is kept in the run folder: one file that holds all it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from batchrun.chat.request.message_models import as_spelled
from batchrun.errors import JobError
from batchrun.job.document.document import EXPONENT, Document
from batchrun.job.document.interpolate import expand, literal
from batchrun.job.job import Job
from batchrun.job.load import load_job

_LINE_ENDS = frozenset("\x85\u2028\u2029\ufeff")
"""What YAML keeps only as an escape."""


_STARTS = "# The job as submitted; its paths start at "


class _Dumper(yaml.SafeDumper):
    """Puts quotes around text that `document` would read as a number, as 1e-3: YAML 1.1 would not."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if not _LINE_ENDS.isdisjoint(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))


def job_snapshot(
    job: Job,
    messages: Sequence[Mapping[str, Any]],
    *,
    turns: Sequence[Mapping[str, Any]] = (),
    schema: Mapping[str, Any] | None = None,
) -> str:
    """The job as YAML, with the shell's options applied.

    `messages` and `turns` (files and includes read in) take the place of what the job spells, where they
    are given; so does `schema`, where the job names a file or a class. Every `${VAR}` is left as it is
    written, so that no value of the environment is kept.
    """
    given = {"messages": messages, "turns": turns}
    inlined = {key: [as_spelled(item) for item in items] for key, items in given.items() if items}
    document = {"name": job.name, **job.document}
    if inlined:
        document["prompt"] = {**job.document.get("prompt", {}), **inlined}
    if schema is not None and isinstance(job.answer_schema, str):
        document["schema"] = literal(schema)
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"{_STARTS}{job.folder}\n{text}"


def kept_schema(kept: Path, env: Mapping[str, str]) -> Mapping[str, Any] | None:
    """The schema of a `job_snapshot` as it reads once its variables are replaced; None where it has none.

    Text that names a variable that is not set stays as it is written.
    """
    spelled = (read_snapshot(kept) or {}).get("schema")
    return expand(Document(spelled), env).value if isinstance(spelled, dict) else None


def read_snapshot(kept: Path | str) -> dict[str, Any] | None:
    """The sections of a `job_snapshot`, given as a file or as its text; None where there is none to read."""
    try:
        document = yaml.safe_load(kept.read_text(encoding="utf-8") if isinstance(kept, Path) else kept)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return document if isinstance(document, dict) else None


def snapshot_folder(kept: Path) -> Path | None:
    """Where the paths in a `job_snapshot` start; None where there is none to read."""
    try:
        with kept.open(encoding="utf-8") as file:
            first = file.readline().rstrip("\n")
    except (OSError, ValueError):
        return None
    return Path(first.removeprefix(_STARTS)) if first.startswith(_STARTS) else None


def load_submitted(
    kept: Path, *, sets: Sequence[str] = (), model: str | None = None, env: Mapping[str, str], cwd: Path
) -> Job:
    """Load the copy of a job that its run folder keeps, as the options change it. Its results lie there.

    Raises JobError where there is no such copy, or it cannot be loaded: it keeps no value of `${VAR}`.
    """
    folder = snapshot_folder(kept)
    if folder is None:
        raise JobError(f"{kept}: there is no job as submitted", hint="Name the job file (.yaml) itself.")
    try:
        job = load_job(kept, sets=sets, model=model, env=env, cwd=cwd, folder=folder)
    except JobError as error:
        hint = (
            "This is the run folder's copy of the job: put that right, or name the job file (.yaml) itself."
        )
        raise JobError(error.message, hint=hint) from error
    place = job.output_address if job.output_path == kept.parent else None  # else it is a copy of its own
    return replace(job, output_path=kept.parent, output_address=place)
