"""`report`: a run as one HTML file that needs nothing else."""

from batchrun.report.drawing import MISSING, drawer
from batchrun.report.gathered import FAILURES, SAMPLE, Gathered, gather
from batchrun.report.page import page

__all__ = ["FAILURES", "MISSING", "SAMPLE", "Gathered", "drawer", "gather", "page"]
