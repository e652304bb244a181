"""`report`: a run as one HTML file that needs nothing else."""

from batchrun.report.gathered import FAILURES, SAMPLE, Gathered, gather
from batchrun.report.page import page

__all__ = ["FAILURES", "SAMPLE", "Gathered", "gather", "page"]
