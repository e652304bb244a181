"""The books of a budget: what is spent, what is held, what is reserved for calls under way."""

from batchrun.budget.amounts import Amounts
from batchrun.budget.budget import Budget, Caps, Reservation
from batchrun.budget.spend import Spend, Tally
from batchrun.budget.words import Per

__all__ = ["Amounts", "Budget", "Caps", "Per", "Reservation", "Spend", "Tally"]
