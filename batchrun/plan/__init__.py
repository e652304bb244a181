"""`plan`: what a submit would do, without a call and without a write."""

from batchrun.plan.examples import Example
from batchrun.plan.limits import PlannedLimit
from batchrun.plan.plan import Plan, PlannedModel, plan

__all__ = ["Example", "Plan", "PlannedLimit", "PlannedModel", "plan"]
