"""`export`: a run's rows as a file for other programs."""

from batchrun.export.formats import FORMATS, TABLES, USUAL, Lines, Table, named_by
from batchrun.export.target import replacing

__all__ = ["FORMATS", "TABLES", "USUAL", "Lines", "Table", "named_by", "replacing"]
