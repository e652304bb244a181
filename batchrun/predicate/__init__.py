"""Predicates in SQL, as polars reads it: prepared once, evaluated per batch of rows.

Comparisons with null are null, and a row is chosen only where the predicate is true.
"""

from batchrun.predicate.columns import Types
from batchrun.predicate.declared import declared_types
from batchrun.predicate.predicate import MAX_OPERATORS, Predicate, PredicateError

__all__ = ["MAX_OPERATORS", "Predicate", "PredicateError", "Types", "declared_types"]
