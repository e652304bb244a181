"""What a prompt leaves out that it probably meant: columns, vars, and names that no template reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import fmean

from batchrun.render.prompt import texts
from batchrun.render.renderer import Renderer
from batchrun.survey.survey import Survey
from batchrun.template.source import column_name, has_markup

_PLACEHOLDER = re.compile(r"(?<![{\w])\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}(?!\})")
"""A name in single braces, as Python's `format` has it; after a letter it is LaTeX's."""

_LONG = 200
"""Characters of a text that a prompt would hardly leave out, on average."""
_SHORT = 100
"""Characters that all columns of a prompt have together where the text itself may be forgotten."""
_NO_PROSE = re.compile(r"\s*([\[{<]|https?:|data:)")
_ASIDE = re.compile(
    r"answer|completion|expect|explanation|gold|html|json|label|log|meta|output|rationale|raw|reason|"
    r"reference|response|solution|summar|target|trace|translat|truth|url|xml"
)
"""Names of columns that are there for another purpose than to be asked about."""


def unused(survey: Survey) -> Iterator[str]:
    """A sentence each on what is likely forgotten, with what to write.

    None where templates may read more than they name.
    """
    named = _named(survey.renderer)
    if named is None or survey.renderer.prompt.from_body:
        return
    columns = survey.columns.names
    for name in survey.job.prompt.vars:
        if name not in named and name not in columns:
            where = survey.job.where("prompt", "vars", name)
            yield f"{where} is used by no template: write {{{{ {name} }}}} where it belongs, or remove it."
    if survey.job.prompt.messages_column is not None:
        return
    if wrong := [name for name in _in_single_braces(survey) if name not in named]:
        yield from map(_doubled, wrong)
        return
    yield from _unused_columns(survey, named)


def _doubled(name: str) -> str:
    return f"prompt: {{{name}}} is sent as it stands: write {{{{ {name} }}}} for the value of {name}."


def _unused_columns(survey: Survey, named: set[str]) -> Iterator[str]:
    columns = survey.columns.names
    lengths = _lengths(survey)
    proses = [name for name in columns if name not in named and not _ASIDE.search(name.lower())]
    longest = max(proses, key=lambda name: lengths.get(name, 0.0), default=None)
    spelled = column_name(longest, columns) if longest is not None else None
    if named.isdisjoint(columns):
        if survey.facts.rows > 1:
            example = f", as in {{{{ {spelled} }}}}" if spelled else ""
            yield f"no template names a column, so all rows ask the same: name one in the prompt{example}."
        return
    if longest is None or spelled is None or survey.renderer.uses_media:
        return
    used = sum(lengths.get(name, 0.0) for name in columns if name in named)
    if lengths.get(longest, 0.0) >= _LONG and used < _SHORT:
        yield (
            f"no template uses the column {longest}, which holds the longest texts (about "
            f"{lengths[longest]:,.0f} characters; those in the prompt {used:,.0f}): "
            f"write {{{{ {spelled} }}}} if it is meant."
        )


def _named(renderer: Renderer) -> set[str] | None:
    """The columns and vars that templates name; None where they may read others, too."""
    templates, prompt = renderer.templates, renderer.prompt
    requests = [dict(model.parameters) for model in renderer.models]
    named: set[str] = set()
    for text in texts([prompt.spelled, prompt.spelled_turns, requests]):
        if has_markup(text):
            read = templates.reads(text)
            if read is None:
                return None
            named |= read
    return named


def _in_single_braces(survey: Survey) -> list[str]:
    """Columns and vars that messages name in single braces, in the order of their places."""
    prompt, known = survey.renderer.prompt, {*survey.columns.names, *survey.job.prompt.vars}
    messages = prompt.inlined([*prompt.spelled, *prompt.spelled_turns])
    named = (name for text in texts(messages) for name in _PLACEHOLDER.findall(text))
    return [name for name in dict.fromkeys(named) if name in known and not _ASIDE.search(name.lower())]


def _lengths(survey: Survey) -> dict[str, float]:
    """The characters of the columns of prose, on average, in the first rows of the input."""
    batch = next(survey.source.batches(), None)
    values: dict[str, list[str]] = {}
    for row in batch.rows if batch else ():
        for name, value in row.values.items():
            if isinstance(value, str) and value:
                values.setdefault(name, []).append(value)
    return {name: fmean(map(len, each)) for name, each in values.items() if _is_prose(each)}


def _is_prose(values: list[str]) -> bool:
    """Whether most of these are sentences, of a script without spaces too."""
    prose = sum((" " in text or not text.isascii()) and not _NO_PROSE.match(text) for text in values)
    return prose > len(values) / 2
