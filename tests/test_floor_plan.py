"""The floor plan: data flows one way, imports point up the table, and each library has its owners."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchrun

ROOT = Path(batchrun.__file__).parent

ROWS = """
    errors
    importing
    value
    outcome
    codec http_date
    wording
    clock
    summary
    limits
    concurrency
    template
    predicate
    media
    chat
    policy
    storage
    job
    budget
    prices
    source
    selection
    functions
    render
    index
    spending
    admission
    client
    run_folder
    remote
    checks
    answer
    survey
    engines
    progress
    simulator
    endpoints
    cluster batches
    forecast
    submitting
    planning reparsing show status gc pausing cancelling
    export report diff
    stored
    init
    cli
    library
    __main__
"""
"""A file or folder of the package imports only from rows above its own."""

OWNERS = {
    "orjson": "codec",
    "minijinja": "template report",
    "yaml": "job",
    "pydantic": "chat job functions simulator endpoints cli",
    "pydantic_core": "job functions",
    "httpx": "client",
    "pyreqwest": "client",
    "certifi": "client",
    "httptools": "simulator",
    "jsonschema_rs": "chat job",
    "pyarrow": "source run_folder checks survey gc export stored",
    "polars": "predicate index run_folder checks survey engines cluster batches forecast submitting "
    "planning reparsing show status gc init export report diff library",
    "genai_prices": "prices",
    "anyio": "clock admission client run_folder functions answer engines progress cluster batches "
    "submitting gc cancelling stored cli",
    "click": "cli",
    "rich": "cli",
    "obstore": "storage",
    "ray": "cluster",
    "vl_convert": "report",
}
"""Each third-party library, and which files and folders may import it."""

DISTRIBUTIONS = {
    "genai_prices": "genai-prices",
    "jsonschema_rs": "jsonschema-rs",
    "yaml": "pyyaml",
    "pydantic_core": "pydantic",
    "vl_convert": "vl-convert-python",
}

INNER = """
    job document
    job sections
    job checking
    chat schema
    chat request
    chat response
    run_folder journal
    run_folder columns
    run_folder checkpoint
    run_folder results
    simulator limits
    simulator making
    simulator reading
    simulator replying
    simulator batches
    cli stored
"""
"""Folders within a folder, in the same way: each imports only from those above it in its folder."""

LEVEL = {name: level for level, row in enumerate(ROWS.strip().splitlines()) for name in row.split()}


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, with the line; inside functions and under conditions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [alias.name for alias in node.names] if module == "batchrun" else [""]
            yield from ((f"{module}.{name}".removesuffix("."), node.lineno) for name in names)


def upward(home: str, source: str, place: str = "x.py") -> list[str]:
    """The imports of a file of `home` that the table does not allow, as sentences."""
    found = []
    for module, line in imported(ast.parse(source)):
        package, _, rest = module.partition(".")
        if package != "batchrun":
            found += [f"{place}:{line}: {module}: imports are absolute"] * (not package)
            continue
        target = rest.partition(".")[0]
        if target in (home, "", "__version__"):
            continue
        if target not in LEVEL or LEVEL[target] >= LEVEL[home]:
            found.append(f"{place}:{line}: {home} imports {target}, which is no row above it")
    return found


def files() -> list[tuple[str, Path]]:
    """Every file of the package with the file or folder of the table that it belongs to."""
    paths = sorted(ROOT.rglob("*.py"))
    return [(path.relative_to(ROOT).parts[0].removesuffix(".py"), path) for path in paths]


def test_every_file_and_folder_has_a_row_and_no_row_is_empty() -> None:
    """A new one is put where it belongs, here and in the plan."""
    assert {home for home, _ in files()} == {*LEVEL, "__init__"}


def test_imports_point_up_the_table() -> None:
    """Whoever reads from the top never meets a name that is explained below."""
    wrong = [
        sentence
        for home, path in files()
        if home != "__init__"
        for sentence in upward(home, path.read_text(encoding="utf-8"), str(path.relative_to(ROOT.parent)))
    ]
    assert wrong == []


def test_folders_within_a_folder_point_up_too() -> None:
    """A row passes each of them once; what lies beside them in their folder serves all."""
    order = [tuple(line.split()) for line in INNER.strip().splitlines()]
    folders = {path.parent.relative_to(ROOT).parts for path in ROOT.glob("*/*/__init__.py")}
    assert folders == set(order)
    wrong = [
        f"{path}: {module}"
        for home in order
        for path in ROOT.joinpath(*home).glob("*.py")
        for module, _line in imported(ast.parse(path.read_text(encoding="utf-8")))
        if (target := tuple(module.split(".")[1:3])) in order[order.index(home) + 1 :]
        and target[0] == home[0]
    ]
    assert wrong == []


def test_the_walk_of_a_row_names_folders_that_are_there() -> None:
    """In the docstring of the package."""
    walk = (batchrun.__doc__ or "").partition("One row's way")[2]
    named = re.findall(r"^(\w+)/ ", walk, re.M) + re.findall(r"`([\w.]+?)/?`", walk)
    below = {path.name for path in ROOT.rglob("*")}
    assert len(named) > 20
    assert [name for name in named if name not in below] == []


def test_the_package_itself_imports_nothing() -> None:
    """`import batchrun` costs nothing, and every row may ask for its version: the rest waits to be asked."""
    body = ast.parse((ROOT / "__init__.py").read_text()).body
    top = [node for node in body if not isinstance(node, ast.If)]  # but for the types
    names = {node.module for node in top if isinstance(node, ast.ImportFrom)}
    assert names == {"__future__", "typing"}
    assert not any(isinstance(node, ast.Import) for node in top)


@pytest.mark.parametrize(
    ("home", "source"),
    [
        ("codec", "import batchrun.job"),
        ("codec", "from batchrun import errors, render"),
        ("render", "def f():\n    from batchrun.run_folder.journal.journal import Journal"),
        ("template", "from batchrun.predicate import Predicate"),
        ("codec", "if TYPE_CHECKING:\n    from batchrun.cli.options import x"),
        ("cli", "from batchrun.nowhere import x"),
        ("cli", "from . import options"),
    ],
)
def test_an_upward_import_is_found(home: str, source: str) -> None:
    """Wherever it hides: the test above can fail."""
    assert len(upward(home, source)) == 1


@pytest.mark.parametrize(
    ("home", "source"),
    [
        ("codec", "import json\nfrom batchrun.errors import UsageError"),
        ("cli", "from batchrun import __version__, codec"),
        ("job", "from batchrun.job.document.place import Loc"),
    ],
)
def test_a_downward_import_is_allowed(home: str, source: str) -> None:
    """Also within one folder."""
    assert upward(home, source) == []


def libraries() -> set[tuple[str, str]]:
    """Third-party libraries, each with the files and folders that import it."""
    return {
        (name.partition(".")[0], home)
        for home, path in files()
        for name, _line in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "batchrun"}
    }


def test_each_library_is_imported_by_its_owners_only() -> None:
    """So that another one can take its place."""
    assert sorted(pair for pair in libraries() if pair[1] not in OWNERS.get(pair[0], "").split()) == []


def test_each_library_is_a_dependency_and_each_dependency_is_used() -> None:
    """Nothing is there only because something else happens to need it."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    declared = {re.split(r"[<>=!~\[; ]", text)[0] for text in [*project["dependencies"], *extras]}
    assert declared == {DISTRIBUTIONS.get(name, name) for name, _home in libraries()}


def test_polars_reads_files_in_one_module() -> None:
    """Elsewhere a folder that is called `a[1]` would be a pattern."""
    readers = {
        path.relative_to(ROOT).as_posix()
        for _home, path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.startswith(("read_", "scan_"))
        if isinstance(node.value, ast.Name) and node.value.id in ("pl", "polars")
    }
    assert readers == {"run_folder/parquet.py"}
