"""`export`: a run's rows as a file for other programs."""

from batchrun.export.export import FORMATS, Format, export, write_table
from batchrun.export.target import replacing

__all__ = ["FORMATS", "Format", "export", "replacing", "write_table"]
