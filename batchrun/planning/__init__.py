"""`plan`: what a submit would do, without a call and without a write."""

from batchrun.planning.examples import Example
from batchrun.planning.models import PlannedLimit, PlannedModel
from batchrun.planning.plan import Plan, plan

__all__ = ["Example", "Plan", "PlannedLimit", "PlannedModel", "plan"]
