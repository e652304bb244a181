"""`report`: a run as one HTML file that needs nothing else."""

from batchrun.report.drawing import MISSING, drawer
from batchrun.report.gathered import Gathered, gather
from batchrun.report.page import page

__all__ = ["MISSING", "Gathered", "drawer", "gather", "page"]
