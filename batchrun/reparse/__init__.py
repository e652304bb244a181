"""`reparse`: the answers of a run read by another schema, without a call."""

from batchrun.reparse.counting import Reason, Reparsed
from batchrun.reparse.reparse import look, reparse

__all__ = ["Reason", "Reparsed", "look", "reparse"]
