"""Prices that the job gives for a model it does not ask: which of them are mistakes.

A price may stand for a model that this submit leaves out: `--model` chooses another one for a run, and the
run folder keeps the job that way. So only what can be nobody's price is refused, and what is a
misspelling of a model that is asked and has no price of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from batchrun.job.known import did_you_mean, nearest
from batchrun.job.models import JobFile
from batchrun.job.place import Loc, Problem, dotted
from batchrun.job.presets import PRESETS
from batchrun.job.serving import ModelSpec

_SEPARATORS = re.compile(r"[-_. ]")
_SHORTEST_WORD = 3
"""Letters; in a shorter word another letter is another word."""


def price_problems(file: JobFile, shell: Collection[Loc] = ()) -> Iterator[Problem]:
    """Find the prices that no model of the job can have.

    `shell` are the locs of what an option of the shell replaced: a price in the file is then no
    misspelling of the model that was chosen instead.
    """
    asked = [
        model.model if isinstance(model, ModelSpec) else model for model in (file.model, *file.fallbacks)
    ]
    endpoints = dict.fromkeys([*file.endpoints, *PRESETS, *(name.partition("/")[0] for name in asked)])
    replaced = any(loc[:1] in (("model",), ("fallbacks",)) for loc in shell)
    unpriced = [] if replaced else [model for model in asked if model not in file.prices]
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
    """Whether the two differ by a slip in the last part of their path.

    That is case, a separator, or one letter of a word. Another digit, or another word, is another model.
    """
    spelled, model = spelled.lower(), model.lower()
    (path, _, name), (of_model, _, wanted) = spelled.rpartition("/"), model.rpartition("/")
    if path != of_model or re.findall("[0-9]+", name) != re.findall("[0-9]+", wanted):
        return False
    if _SEPARATORS.sub("", name) == _SEPARATORS.sub("", wanted):
        return True
    words, others = (re.findall("[a-z]+|[^a-z]+", text) for text in (name, wanted))
    if len(words) != len(others):
        return False
    pairs = [(one, other) for one, other in zip(words, others, strict=True) if one != other]
    return len(pairs) == 1 and _one_slip(*pairs[0])


def _one_slip(word: str, other: str) -> bool:
    """Whether two words differ by one letter too many, missing or wrong, or by two swapped ones."""
    if min(len(word), len(other)) < _SHORTEST_WORD or not (word + other).isalpha():
        return False
    same = next((at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), None)
    if same is None:
        return abs(len(word) - len(other)) <= 1
    left, right = word[same:], other[same:]
    swapped = left[:2] == right[1::-1] and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]
