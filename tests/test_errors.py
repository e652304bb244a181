"""Every error that ends a command says what to do next: where it is raised, a hint is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import batchrun
from batchrun import errors
from batchrun.errors import BatchrunError
from tests.instructions import tells_what_to_do

ROOT = Path(batchrun.__file__).parent

TELLING = {
    "admission/admission.py:_spare": "never printed: the engine stops, and `cli.going_on` tells on",
    "batches/rounds.py:_earn": "never printed: the engine stops, and `cli.going_on` tells on",
    "cluster/leased.py:admit": "never printed: the driver has stopped the run, and tells",
    "submitting/submit.py:_check_caps": "each reason says what to set; the hint is the further ones",
}
"""Where a message tells by itself, and how."""


@dataclass(frozen=True, slots=True)
class Made:
    """A place where an error is made: `place` as `TELLING` names it, and the `hint` that it is given."""

    place: str
    line: int
    hint: ast.expr | None

    @property
    def may_lack(self) -> bool:
        """Whether there may be no hint."""
        return self.hint is None or any(ast.unparse(branch) == "None" for branch in _branches(self.hint))

    @property
    def text(self) -> str | None:
        """What the hint says, as far as it stands there; None for one that is made elsewhere."""
        parts = [self.hint] if isinstance(self.hint, ast.Constant) else getattr(self.hint, "values", [])
        said = ["…" if isinstance(p, ast.FormattedValue) else str(getattr(p, "value", "")) for p in parts]
        return "".join(said) if isinstance(self.hint, ast.Constant | ast.JoinedStr) else None


def _branches(value: ast.expr) -> Iterator[ast.expr]:
    """The expressions that may be its value."""
    if isinstance(value, ast.IfExp):
        value = ast.BoolOp(ast.Or(), [value.body, value.orelse])
    if isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from _branches(part)
    else:
        yield value


def subclasses(kind: type[BatchrunError]) -> Iterator[type[BatchrunError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


NAMES = {kind.__name__ for kind in subclasses(BatchrunError)}


def made_in(path: str, source: str) -> Iterator[Made]:
    """Every error of ours that a file makes, raised or returned."""

    def walk(node: ast.AST, function: str) -> Iterator[Made]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Call) and ast.unparse(child.func).rpartition(".")[2] in NAMES:
                hints = [keyword.value for keyword in child.keywords if keyword.arg == "hint"]
                yield Made(f"{path}:{inside}", child.lineno, hints[0] if hints else None)
            yield from walk(child, inside)

    return walk(ast.parse(source), "")


def made() -> list[Made]:
    return [
        one
        for path in sorted(ROOT.rglob("*.py"))
        for one in made_in(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    ]


def test_every_error_is_one_of_the_tree() -> None:
    """No module has a kind of its own, which the next test would not see."""
    assert {kind.__module__ for kind in subclasses(BatchrunError)} == {errors.__name__}


def test_every_error_says_what_to_do() -> None:
    """Each is given a hint, but for those whose message tells; and of these there is none too many."""
    lacking = [one for one in made() if one.may_lack]
    assert [f"{one.place}:{one.line}" for one in lacking if one.place not in TELLING] == []
    assert {one.place for one in lacking} == set(TELLING)


def test_every_hint_is_an_instruction() -> None:
    """As far as its words stand where the error is made."""
    spelled = [one for one in made() if one.text is not None]
    assert len(spelled) > 100
    assert [
        f"{one.place}:{one.line}: {one.text}" for one in spelled if not tells_what_to_do(one.text or "")
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "raise UsageError('x is wrong')",
        "raise errors.JobError('x', hint=None)",
        "def f():\n    return InputError('x', hint='did you mean y?' if near else None)",
        "raise StorageError('x', hint=why or None) from error",
    ],
)
def test_an_error_without_a_hint_is_found(source: str) -> None:
    """However it is spelled: the tests above can fail."""
    assert [one.may_lack for one in made_in("x.py", source)] == [True]


@pytest.mark.parametrize("text", ["the file is empty", "This happens with old files.", "no such column"])
def test_a_statement_is_no_instruction(text: str) -> None:
    """A hint has to say more than what is the case."""
    assert not tells_what_to_do(text)
