"""`init`: a job file to begin with, fitted to a prompt table."""

from batchrun.init.job_file import SCHEMA_FILE, Wish, checked_endpoint, refuse_taken, write_job
from batchrun.init.table import Table, inspect_table
from batchrun.init.tasks import TASK_KINDS, TaskKind

__all__ = [
    "SCHEMA_FILE",
    "TASK_KINDS",
    "Table",
    "TaskKind",
    "Wish",
    "checked_endpoint",
    "inspect_table",
    "refuse_taken",
    "write_job",
]
