"""The job file: read strictly, with every message naming file, line and key.

load_job         file and options of the shell → Job, or a JobError that lists all problems
job_schema       the JSON Schema for editors
read_env_file    the variables of an `--env-file`

document/        YAML to plain values that remember their lines; `${VAR}`, `--set`
sections/        the keys: a new one goes there
checking/        what is wrong, in the words of the file
presets.py       the endpoints that are known by name: a new one goes there
load.py          from these to a `Job`
"""

from __future__ import annotations

from batchrun.job.answer_schema import load_answer_schema
from batchrun.job.endpoints import Endpoint
from batchrun.job.env_file import read_env_file
from batchrun.job.job import ANY_MODEL, Job, ModelChoice
from batchrun.job.load import load_job
from batchrun.job.messages import read_messages
from batchrun.job.presets import PRESETS, SIMULATOR, Preset
from batchrun.job.schema import job_schema
from batchrun.job.sections.checks import Check
from batchrun.job.sections.fields import ColumnType
from batchrun.job.sections.prompt import MessageFile, Prompt, Turn
from batchrun.job.sections.rows import OPENAI_BATCH, Input, Output, RunTools, Sample
from batchrun.job.sections.serving import Retry, StopWhen
from batchrun.job.snapshot import job_snapshot

__all__ = [
    "ANY_MODEL",
    "OPENAI_BATCH",
    "PRESETS",
    "SIMULATOR",
    "Check",
    "ColumnType",
    "Endpoint",
    "Input",
    "Job",
    "MessageFile",
    "ModelChoice",
    "Output",
    "Preset",
    "Prompt",
    "Retry",
    "RunTools",
    "Sample",
    "StopWhen",
    "Turn",
    "job_schema",
    "job_snapshot",
    "load_answer_schema",
    "load_job",
    "read_env_file",
    "read_messages",
]
