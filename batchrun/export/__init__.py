"""`export`: a run's rows as a file for other programs."""

from batchrun.export.export import FORMATS, Format, export
from batchrun.export.target import replacing

__all__ = ["FORMATS", "Format", "export", "replacing"]
