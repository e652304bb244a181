"""Where a value of the job stands: a line of the file, or an option of the shell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Loc: TypeAlias = tuple[str | int, ...]
"""The way to a value from the top of the job: keys of mappings, and positions in lists from 0."""


def dotted(loc: Loc) -> str:
    """Write `loc` as `--set` takes it: `prompt.messages.0.content`."""
    return ".".join(str(part) for part in loc)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a job, as a sentence that names its key.

    Attributes:
        loc: the value it is about; the nearest part that exists gives the line.
        text: what is wrong and what to do, without file and line.
        line: the line in the file, from 1, where it is known better than by `loc` (YAML errors).
        option: the option of the shell that is wrong by itself, in place of a line.
    """

    loc: Loc
    text: str
    line: int | None = None
    option: str | None = None


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


@dataclass(frozen=True, slots=True)
class Places:
    """The origin of every value.

    Attributes:
        file: the job file as the user named it.
        lines: the line, from 1, on which a key or a list's item begins.
        shell: values that an option of the shell replaced: loc to option. Nothing below such a
            loc stands in `lines`.
    """

    file: str
    lines: Mapping[Loc, int]
    shell: Mapping[Loc, str]

    def at(self, loc: Loc) -> str:
        """Say where `loc`, or the nearest part above it that exists, comes from: `jobs/x.yaml:12`."""
        for length in range(len(loc), -1, -1):
            part = loc[:length]
            if option := self.shell.get(part) or self._made(part):
                return option
            if part in self.lines:
                return f"{self.file}:{self.lines[part]}"
        return self.file

    def _made(self, loc: Loc) -> str | None:
        """The option that made the mapping at `loc` on the way to its own value; the file has none there."""
        if not loc or loc in self.lines:
            return None
        return next((option for below, option in self.shell.items() if below[: len(loc)] == loc), None)

    def where(self, *loc: str | int) -> str:
        """Say place and key, as every message about a job begins: `jobs/x.yaml:12: input.path`."""
        return f"{self.at(loc)}: {dotted(loc)}"

    def from_shell(self, loc: Loc) -> bool:
        """Whether the value was given in the shell, so that its paths start at the shell's folder."""
        return any(loc[:length] in self.shell for length in range(len(loc) + 1))

    def report(self, problems: list[Problem]) -> str:
        """Write the problems one a line, the shell's first, then in the order of the file."""
        ordered = sorted(problems, key=self._order)
        lines = [f"{self._place(problem)}: {_sentence(problem.text)}" for problem in ordered]
        return "\n".join(dict.fromkeys(lines))

    def _place(self, problem: Problem) -> str:
        if problem.option is not None:
            return problem.option
        return self.at(problem.loc) if problem.line is None else f"{self.file}:{problem.line}"

    def _order(self, problem: Problem) -> int:
        """Sort what the shell gave before the file, and the file by lines."""
        if problem.line is not None:
            return problem.line
        if problem.option is not None or self.from_shell(problem.loc) or self._made(problem.loc):
            return 0
        above = (problem.loc[:length] for length in range(len(problem.loc), -1, -1))
        return next((self.lines[part] for part in above if part in self.lines), 0)


class WrongPartsError(ValueError):
    """A check of a whole section that found its parts wrong: each part's loc in it, and a sentence."""

    def __init__(self, parts: list[tuple[Loc, str]]) -> None:
        super().__init__("; ".join(text for _, text in parts))
        self.parts = parts

    @classmethod
    def raise_any(cls, parts: list[tuple[Loc, str]]) -> None:
        """Raise when `parts` holds any."""
        if parts:
            raise cls(parts)
