"""The house in figures: `python -m tests.style [FOLDER …]` prints a table of how the code is cut.

A function is counted from its `def` line to its last, docstring and signature included; a line of source is
any line of a `.py` file. Without folders: the package, beside what is wanted of it.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

WANTED = {
    "modules": "",
    "lines": "",
    "longest module": "< 300",
    "median module": "< 150",
    "function, median": "<= 8",
    "function, p95": "<= 40",
    "functions over 50 lines": "0",
    "returns typed": "100%",
    "broad excepts that go on": "at boundaries",
    "prints outside the command line": "0",
    "lines of tests per line": "",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of code, and where it stands: `errors.py:12`."""

    place: str
    lines: int


@dataclass(frozen=True, slots=True)
class Style:
    """What was counted in all Python files below one folder."""

    modules: list[Found]
    functions: list[Found]
    untyped: list[str]
    """Functions without a return type."""
    broad: list[str]
    """Handlers that catch every exception and do not raise it again, as `file.py:function`."""
    prints: list[str]
    """Calls of `print` outside `cli/`."""

    def figures(self, test_lines: int) -> dict[str, str]:
        """The table's figures, by the names in WANTED."""
        modules, functions = (sorted(one.lines for one in found) for found in (self.modules, self.functions))
        typed = 1 - len(self.untyped) / len(functions)
        return {
            "modules": f"{len(modules):,}",
            "lines": f"{sum(modules):,}",
            "longest module": f"{modules[-1]}",
            "median module": f"{statistics.median(modules):g}",
            "function, median": f"{statistics.median(functions):g}",
            "function, p95": f"{functions[int(0.95 * len(functions))]}",
            "functions over 50 lines": f"{sum(lines > 50 for lines in functions)} of {len(functions):,}",
            "returns typed": f"{typed:.0%}" if not self.untyped else f"{typed:.2%}",
            "broad excepts that go on": f"{len(self.broad)}",
            "prints outside the command line": f"{len(self.prints)}",
            "lines of tests per line": f"{test_lines / sum(modules):.2f}",
        }


def measured(root: Path) -> Style:
    """All Python files below `root`, read without running them."""
    style = Style([], [], [], [], [])
    for path in sorted(root.rglob("*.py")):
        name, text = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        style.modules.append(Found(name, len(text.splitlines())))
        for within, node in _walk(ast.parse(text), "module"):
            _count(style, name, within, node)
    return style


def _walk(node: ast.AST, within: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node with the name of the function that it stands in."""
    for child in ast.iter_child_nodes(node):
        yield within, child
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else within
        yield from _walk(child, inner)


def _count(style: Style, name: str, within: str, node: ast.AST) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            style.functions.append(Found(f"{name}:{node.name}", lines))
            if node.returns is None:
                style.untyped.append(f"{name}:{node.name}")
        case ast.ExceptHandler() if _is_broad(node) and not _raises(node):
            style.broad.append(f"{name}:{within}")
        case ast.Call(func=ast.Name(id="print")) if not name.startswith("cli/"):
            style.prints.append(f"{name}:{node.lineno}")


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {one.id if isinstance(one, ast.Name) else None if one else "" for one in caught}
    return bool(names & {"Exception", "BaseException", ""})  # "": a bare `except:`


def _raises(handler: ast.ExceptHandler) -> bool:
    """Whether it ends by raising: what was caught, or what that means."""
    return isinstance(handler.body[-1], ast.Raise)


def table(columns: dict[str, dict[str, str]]) -> str:
    """The figures in Markdown: a line a figure, a column a folder."""
    names = list(columns)
    rows = [["", *names], *([key, *(columns[name].get(key, "") for name in names)] for key in WANTED)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def main(folders: list[str]) -> None:
    """Print the table of some folders, each beside the tests that stand next to it."""
    paths = [Path(folder) for folder in folders] or [ROOT / "batchrun"]
    columns = {}
    for path in paths:
        tests = path.parent / "tests"
        columns[path.name] = measured(path).figures(sum(one.lines for one in measured(tests).modules))
    print(table(columns | {"wanted": WANTED}))  # noqa: T201 (this command's output)


if __name__ == "__main__":
    main(sys.argv[1:])
