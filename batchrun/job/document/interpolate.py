"""`${VAR}` and `${VAR:-default}` in the job's text values, after YAML has been parsed.

The shell's meaning: the default stands in for a variable that is unset or empty, and what a
variable holds is not expanded again. `$${` writes a literal `${`. Nothing below `prompt` is
touched: a prompt may speak of `${HOME}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchrun.job.document.document import Document
from batchrun.job.document.place import Loc, Problem, dotted

_REFERENCE = re.compile(
    r"(?P<escape>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|(?P<broken>\$\{)"
)
_LEFT_ALONE = "prompt"


class Expanded(str):
    """Text that stood in the job as one `${VAR}` and nothing else.

    Where a number or a boolean is expected it is read as YAML would have read it; where text
    is expected it stays text, whatever the variable holds.
    """

    __slots__ = ()


class Unquoted(Expanded):
    """The same without quotes: where any value is taken, too, it is read as YAML would have."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable that a value of the job names."""

    loc: Loc
    variable: str


@dataclass(frozen=True, slots=True)
class Expansion:
    """A job with its variables replaced; text with a problem is left as it was."""

    value: Any
    references: tuple[Reference, ...]
    problems: tuple[Problem, ...]


def expand(document: Document, env: Mapping[str, str]) -> Expansion:
    """Replace the variables of `document` by what `env` holds."""
    walk = _Walk(document.plain, env)
    return Expansion(walk.value(document.value, ()), tuple(walk.references), tuple(walk.problems))


def variables_in(value: Any, env: Mapping[str, str]) -> dict[str, str | None]:
    """The variables that `value` names, as `env` has them; None where it does not."""
    walk = _Walk(set(), env)
    walk.value(value, ())
    return {found.variable: env.get(found.variable) for found in walk.references}


def literal(value: Any) -> Any:
    """`value` so spelled that `expand` gives it as it is: every `${` of its texts is written `$${`."""
    if isinstance(value, Mapping):
        return {key: literal(member) for key, member in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


class _Walk:
    def __init__(self, plain: set[Loc], env: Mapping[str, str]) -> None:
        self.plain = plain
        self.env = env
        self.references: list[Reference] = []
        self.problems: list[Problem] = []

    def value(self, value: Any, loc: Loc) -> Any:
        if loc[:1] == (_LEFT_ALONE,):
            return value
        if isinstance(value, dict):
            return {key: self.value(member, (*loc, key)) for key, member in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*loc, index)) for index, item in enumerate(value)]
        return self.text(value, loc) if isinstance(value, str) and "${" in value else value

    def text(self, text: str, loc: Loc) -> str:
        problems = len(self.problems)
        expanded = _REFERENCE.sub(lambda match: self.replacement(match, loc), text)
        if len(self.problems) > problems:
            return text
        whole = _REFERENCE.fullmatch(text)
        if whole is None or whole["name"] is None:
            return expanded
        return Unquoted(expanded) if loc in self.plain else Expanded(expanded)

    def replacement(self, match: re.Match[str], loc: Loc) -> str:
        if match["escape"]:
            return "${"
        if match["broken"]:
            self.wrong(
                loc, "a ${ that names no variable: write ${NAME} or ${NAME:-default}, and $${ for the text ${"
            )
            return ""
        name, default = match["name"], match["default"]
        self.references.append(Reference(loc, name))
        if default is not None:
            return self.env.get(name) or str(default[2:])
        if name not in self.env:
            self.wrong(loc, f"the variable {name} is not set: export it, or write ${{{name}:-default}}")
        return self.env.get(name, "")

    def wrong(self, loc: Loc, text: str) -> None:
        self.problems.append(Problem(loc, f"{dotted(loc)}: {text}"))
