"""Prices that the job gives for a model it does not ask: which of them are mistakes.

A price may stand for a model that this submit leaves out: `--model` chooses another one for a run, and the
run folder keeps the job that way. So only what can be nobody's price is refused, and what is a
misspelling of a model that is asked and has no price of its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from batchrun.job.known import did_you_mean, nearest
from batchrun.job.models import JobFile
from batchrun.job.place import Loc, Problem, dotted
from batchrun.job.presets import PRESETS
from batchrun.job.serving import ModelSpec

_ALIKE = 0.9


def price_problems(file: JobFile) -> Iterator[Problem]:
    """Find the prices that no model of the job can have."""
    asked = [
        model.model if isinstance(model, ModelSpec) else model for model in (file.model, *file.fallbacks)
    ]
    endpoints = dict.fromkeys([*file.endpoints, *PRESETS, *(name.partition("/")[0] for name in asked)])
    unpriced = [model for model in asked if model not in file.prices]
    for spelled in file.prices:
        if spelled in asked:
            continue
        loc: Loc = ("prices", spelled)
        endpoint, _, name = spelled.partition("/")
        if endpoint not in endpoints:
            near = _same_model(spelled, asked) or nearest(spelled, asked)
            hint = f" Did you mean {near}?" if near else did_you_mean(endpoint, endpoints)
            yield Problem(loc, f"{dotted(loc)}: there is no endpoint {endpoint}.{hint}")
        elif meant := next((model for model in unpriced if _misspelled(spelled, model)), None):
            yield Problem(loc, f"{dotted(loc)}: the job asks no model of that name. Did you mean {meant}?")
        elif name == "*":
            yield Problem(loc, f"{dotted(loc)}: a price is one model's: name the models that rows ask for.")


def _same_model(spelled: str, asked: Iterable[str]) -> str | None:
    """The model whose name is given without its endpoint."""
    return next((model for model in asked if model.partition("/")[2] == spelled), None)


def _misspelled(spelled: str, model: str) -> bool:
    """Whether the two differ by a slip: in upper case, or by letters; other numbers are other versions."""
    if spelled.lower() == model.lower():
        return True
    if re.findall("[0-9]+", spelled) != re.findall("[0-9]+", model) or abs(len(spelled) - len(model)) > 1:
        return False
    return difflib.SequenceMatcher(None, spelled.lower(), model.lower()).ratio() >= _ALIKE
