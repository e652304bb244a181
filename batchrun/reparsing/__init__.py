"""`reparse`: the answers of a run read by another schema, without a call."""

from batchrun.reparsing.counting import Reason, Reparsed
from batchrun.reparsing.reparse import preview, reparse

__all__ = ["Reason", "Reparsed", "preview", "reparse"]
