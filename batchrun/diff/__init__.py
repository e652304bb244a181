"""`diff`: runs compared by the ids of their rows: what changed, how far they agree, what is right."""

from batchrun.diff.diff import EXAMPLES, Diff, Run, diff

__all__ = ["EXAMPLES", "Diff", "Run", "diff"]
