"""`diff`: runs compared by the ids of their rows: what changed, how far they agree, what is right."""

from batchrun.diff.diff import Diff, Run, diff

__all__ = ["Diff", "Run", "diff"]
