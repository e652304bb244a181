"""Files of requests out, answers in, until no row is left: what a run by batches does from beginning to end.

Rows are drawn and written in the order of the input, a file becomes a batch as soon as it is full, and
batches that are over are taken up whenever there is something to wait for: a quota, the budget, the end.
Rows that need asking again form the next round, or go in realtime.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio.to_thread
import polars as pl

from batchrun.answer.answerer import Answerer
from batchrun.answer.needs import Estimator, Needs
from batchrun.answer.task import Task
from batchrun.batches.api import ApiError, Told
from batchrun.batches.arrived import Arrived
from batchrun.batches.desk import Desk
from batchrun.batches.drawing import Wanted, drawn
from batchrun.batches.landing import Landing, Took
from batchrun.batches.sending import Sender, StoppedError, is_full
from batchrun.batches.writing import OpenFile, line_of
from batchrun.budget import Reservation
from batchrun.engines.local import in_chunks
from batchrun.errors import BudgetExhaustedError
from batchrun.outcome import Failed
from batchrun.run_folder.batches import Record, drop_record, read_rows
from batchrun.run_folder.records import Done
from batchrun.summary import Stop
from batchrun.tasks import Assigner
from batchrun.wording import counted
