"""`reparse`: the answers of a run read by another schema, without a call."""

from batchrun.reparsing.counting import Reason, Reparsed
from batchrun.reparsing.reparse import look, reparse

__all__ = ["Reason", "Reparsed", "look", "reparse"]
