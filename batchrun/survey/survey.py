"""What a job is about, before anything is sent: its rows, their requests, and what is done already."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from batchrun import __version__, codec
from batchrun.checks.checks import require_checks
from batchrun.errors import InputError, JobError
from batchrun.index import Facts, Identifier, Index, State, build, match, sharing
from batchrun.index.sharing import SENDABLE
from batchrun.job import OPENAI_BATCH, Job
from batchrun.render.renderer import HASH_VERSION, Renderer
from batchrun.run_folder.checkpoint.checkpoint import PAIRS_SCHEMA, Checkpoint, read_checkpoint, read_kept
from batchrun.run_folder.checkpoint.shared import read_shared
from batchrun.run_folder.checkpoint.upgrade import upgrade_parts
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.folder import RunFolder
from batchrun.selection import Selection
from batchrun.source import Source
from batchrun.spending.caps import BoundCheck, needs_bounds
from batchrun.survey import kept_index
from batchrun.survey.layout import layout_of
from batchrun.survey.previous import open_input


@dataclass(frozen=True, slots=True)
class Survey:
    """A job's rows and what the checkpoint holds for them.

    `states` has a line for each chosen row (see `index.match`); `columns` are the input's; `read_rows` gives
    the index, which stays on disk where it is kept there.
    """

    job: Job
    run: RunFolder
    source: Source
    renderer: Renderer
    identifier: Identifier
    facts: Facts
    columns: pa.Schema
    read_rows: Callable[[Callable[[str], bool]], pl.DataFrame]
    """Takes what says which columns to read."""
    checkpoint: Checkpoint
    identity: str
    """Names job, input files and program: what results depend on beside the rows' answers."""

    @property
    def rows(self) -> pl.DataFrame:
        """The index (`index.ROWS_SCHEMA`), in the order of the input."""
        return self.read_rows(lambda name: True)

    def states(self, retry_failed: Iterable[str] = (), *, rerun: bool = False) -> pl.DataFrame:
        """What is done of each row, as the checkpoint has it now.

        `rerun`: older answers that the user has kept are to be replaced, as changed ones are.
        """
        kept = pl.DataFrame(schema=PAIRS_SCHEMA) if rerun else read_kept(self.run.checkpoint_path)
        needed = ["key", "hash", *(["row_index", SENDABLE] if self.job.dedupe else [])]
        matched = match(
            answers=self.checkpoint.answers(),  # before the rows, as reading it takes more than it holds
            rows=self.read_rows(lambda name: name in needed),
            kept=kept,
            has_ids=self.job.input.id is not None,
            retry_failed=retry_failed,
            shared=read_shared(self.run.checkpoint_path),
        )
        rest = self.read_rows(lambda name: name not in matched.columns)  # 8 bytes a row, or more
        return pl.concat([rest, matched], how="horizontal")


def take_survey(job: Job, *, on_rows: Callable[[int], None], keep_index: bool) -> Survey:
    """Read the input, or the index of it where nothing has changed since.

    `on_rows` is told how many rows were read; `keep_index` writes the index for the next time, and brings
    a checkpoint of an older format up to date, which only the holder of the run folder's lock may do.
    Raises InputError, JobError and RunFolderError.
    """
    run = RunFolder(job.output_path)
    if keep_index and run.identity_path.exists():
        run.stamp()
        upgrade_parts(run.checkpoint_path)
    source = open_input(job)
    renderer = Renderer(job)
    selection = Selection(source, job)
    identity = _identity(job, source, renderer)
    index, columns = _indexed(
        run.checkpoint_path, selection, job, renderer, identity, on_rows, keep=keep_index
    )
    _check_output(job, columns)
    if columns.names:  # else no row could be read, and nobody knows what they hold
        require_checks(job, layout_of(job, renderer, columns).schema())
    kept = run.identity_path.exists()
    return Survey(
        job=job,
        run=run,
        source=source,
        renderer=renderer,
        identifier=Identifier(renderer, job.input.id),
        facts=index.facts,
        columns=columns,
        read_rows=partial(kept_index.read_rows, run.checkpoint_path)
        if keep_index
        else partial(_chosen, index.rows),
        checkpoint=read_checkpoint(run.checkpoint_path) if kept else Checkpoint(run.checkpoint_path),
        identity=identity,
    )


def _indexed(
    checkpoint: Path,
    selection: Selection,
    job: Job,
    renderer: Renderer,
    identity: str,
    on_rows: Callable[[int], None],
    *,
    keep: bool,
) -> tuple[Index, pa.Schema]:
    """The index and the input's columns, of the last pass where nothing has changed since, else of a new one.

    Raises InputError and JobError.
    """
    identity = _index_identity(job, identity)
    # media may have changed since: only another look at each file can tell
    if not renderer.uses_media and (found := kept_index.load(checkpoint, identity, job.folder)):
        return found
    types = selection.source.column_types(job.input.types)
    index = build(
        selection,
        renderer,
        job.input.id,
        types,
        on_rows,
        sendable=job.dedupe,
        prefixes=job.order == "prefix",
        is_unbounded=BoundCheck(job, time.time()).is_unbounded if needs_bounds(job) else None,
    )
    columns = types.schema()
    _check_columns(job, columns, index.facts, selection.paths)
    if keep:
        included, has_ids = renderer.templates.included, job.input.id is not None
        kept_index.save(checkpoint, identity, index, columns, included, has_ids=has_ids)
    return index, columns


def _identity(job: Job, source: Source, renderer: Renderer) -> str:
    """Changes whenever another pass over the input could give another index."""
    model = job.models[0]
    parts = {
        "batchrun": [__version__, HASH_VERSION, str(RESULT_SCHEMA)],
        "input": job.input.model_dump(),
        "vars": dict(job.prompt.vars),
        "messages": [renderer.prompt.spelled, job.prompt.messages_column],
        "turns": renderer.prompt.spelled_turns,
        "schema": _in_order(renderer.answer_schema.schema if renderer.answer_schema else None),
        "run_tools": _in_order(renderer.functions.tools if renderer.functions else None),
        "included": renderer.templates.included,
        "model": [model.qualified_name, _in_order(dict(model.parameters)), sorted(model.removed)],
        "columns": [job.dedupe, job.order],
        "files": [file.kept.identity for file in source.files],
    }
    return codec.digest_of(parts)


def _index_identity(job: Job, identity: str) -> str:
    """The same and, where requests must have an upper bound, what that hangs on beside them.

    Not the amounts of the budget: raising a cap is no reason to read the input again.
    """
    if not needs_bounds(job):
        return identity
    costs = job.budget.cost_usd is not None
    parts: dict[str, Any] = {
        "rows": identity,
        "models": [
            [one.qualified_name, _in_order(dict(one.parameters)), sorted(one.removed)] for one in job.models
        ],
    }
    if costs:
        parts["prices"] = {name: price.model_dump() for name, price in job.prices.items()}
        parts["list"] = version("genai-prices")
        parts["urls"] = [list(job.endpoints[model.endpoint].base_urls) for model in job.models]
    return codec.digest_of(parts)


def _in_order(value: Any) -> str:
    """A value as JSON in the order that it is spelled in: to a model the order of a schema counts."""
    return codec.dumps(value).decode()


def _chosen(rows: pl.DataFrame, wanted: Callable[[str], bool]) -> pl.DataFrame:
    return rows.select(name for name in rows.columns if wanted(name))


def _check_columns(job: Job, columns: pa.Schema, facts: Facts, where: Iterable[tuple[str, ...]]) -> None:
    """Refuse what would make every row fail, or none be chosen: that is the job's mistake, not the rows'.

    `where` are the columns, and members of them, that the condition names.
    """
    known = ", ".join(columns.names)
    read_whole = job.input.limit is None or facts.rows < job.input.limit
    for path in where if columns.names and read_whole else ():
        _check_path(job, columns, path)
    if job.input.id is not None and columns.names and job.input.id not in columns.names:
        raise JobError(
            f"{job.where('input', 'id')}: no row has a column `{job.input.id}`",
            hint=f"Columns of the input: {known}",
        )
    if facts.unrendered and facts.unrendered == facts.rows - facts.bad_rows:
        raise InputError(
            f"{_blamed(job, facts.first_failure)}: no row can be rendered: {facts.first_failure}",
            hint=f"Columns of the input: {known}",
        )


def _check_path(job: Job, columns: pa.Schema, path: tuple[str, ...]) -> None:
    """Refuse a condition on a column, or on a member of one, that no row has."""
    known, what, of = columns, "column", "the input"
    for name in path:
        names = [field.name for field in known]
        if name not in names:
            raise JobError(
                f"{job.where('input', 'where')}: no row has a {what} `{name}`"
                f"{'' if what == 'column' else f' in {of}'}",
                hint=f"Name one of the {what}s of {of}: {', '.join(names)}",
            )
        known, what, of = known.field(name).type, "member", f"`{name}`"
        if not pa.types.is_struct(known):  # a map, or what only JSON text holds
            return


def _blamed(job: Job, failure: str) -> str:
    """The key of the job that a row's failure speaks of, with its place."""
    if found := re.search(r": request\.([a-z_]+)", failure):
        return job.where("request", found[1])
    if job.input.format == OPENAI_BATCH:
        return job.where("input", "path")
    return job.where("prompt", "messages_column" if job.prompt.messages_column else "messages")


def _check_output(job: Job, columns: pa.Schema) -> None:
    wanted = job.output.columns
    for name in () if isinstance(wanted, str) else wanted:
        if name not in columns.names:
            raise JobError(
                f"{job.where('output', 'columns')}: the input has no column `{name}`",
                hint=f"Columns of the input: {', '.join(columns.names)}",
            )


def to_do(states: pl.DataFrame, *, rerun_changed: bool) -> pl.DataFrame:
    """The rows that a submit asks for, in input order; of identical requests that are asked once, one."""
    rows = _wanted(states, rerun_changed=rerun_changed)
    return sharing.asked_once(rows) if sharing.SENDABLE in rows.columns else rows


def duplicates(states: pl.DataFrame, *, rerun_changed: bool) -> int:
    """How many rows will share the answer of one that is asked now."""
    return len(_wanted(states, rerun_changed=rerun_changed)) - len(to_do(states, rerun_changed=rerun_changed))


def _wanted(states: pl.DataFrame, *, rerun_changed: bool) -> pl.DataFrame:
    wanted = [State.NEW, State.RETRY, *([State.CHANGED] if rerun_changed else [])]
    return states.filter(pl.col("state").is_in([int(state) for state in wanted]))
