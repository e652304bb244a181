"""What a job's results look like, known before its first call."""

from __future__ import annotations

import pyarrow as pa

from batchrun.job import Job
from batchrun.render.renderer import Renderer
from batchrun.run_folder.columns.layout import Layout
from batchrun.run_folder.columns.parsed import arrow_type
from batchrun.run_folder.columns.typed import Types, probabilities_type
from batchrun.source.previous_run import ROW_ID


def layout_of(job: Job, renderer: Renderer, columns: pa.Schema) -> Layout:
    """The layout of the job's results; `columns` are the input's."""
    output = job.output
    prompts = output.messages and not renderer.keeps_transcript
    known = frozenset({ROW_ID}) if job.input.run else frozenset[str]()
    return Layout(columns, output.columns, prompts, output.raw, result_types(renderer), known)


def result_types(renderer: Renderer) -> Types:
    """The types of the columns that a job's schema and labels decide."""
    schema = renderer.answer_schema
    parsed = Types().parsed if schema is None else arrow_type(schema.schema)[0]
    return Types(parsed, probabilities_type(renderer.labels))
