"""Imports of a user's modules: found before others of their name, and without traces."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrun.importing import importing_from


def folder(above: Path, name: str) -> Path:
    """A folder with a module `shapes`, which imports its neighbour `shapes_of`."""
    path = above / name
    path.mkdir()
    (path / "shapes_of.py").write_text(f"FOLDER = {name!r}")
    (path / "shapes.py").write_text("from shapes_of import FOLDER\n\nimport csv")
    return path


def shapes_in(path: Path, *, forget: bool) -> str:
    with importing_from(path, forget=forget):
        return str(importlib.import_module("shapes").FOLDER)


@pytest.fixture(autouse=True)
def _modules_stay_as_they_were() -> Iterator[None]:
    yield
    for name in ("shapes", "shapes_of"):
        sys.modules.pop(name, None)


def test_two_folders_can_have_modules_of_one_name(tmp_path: Path) -> None:
    """Each is asked first; what neither of them holds stays loaded."""
    assert [shapes_in(folder(tmp_path, name), forget=True) for name in "ab"] == ["a", "b"]
    assert not {"shapes", "shapes_of"} & sys.modules.keys()
    assert "csv" in sys.modules


def test_modules_of_code_that_runs_later_are_kept(tmp_path: Path) -> None:
    """It may import a neighbour again inside a function."""
    shapes_in(folder(tmp_path, "a"), forget=False)
    assert sys.modules["shapes_of"].FOLDER == "a"


def test_what_was_loaded_before_is_not_forgotten(tmp_path: Path) -> None:
    """Somebody uses it."""
    path = folder(tmp_path, "a")
    shapes_in(path, forget=False)
    shapes_in(path, forget=True)
    assert {"shapes", "shapes_of"} <= sys.modules.keys()


@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("wrote_none", [True, False])
def test_everything_else_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: bool, wrote_none: bool
) -> None:
    """The search path, the wish for bytecode, and the folder: also when the module fails."""
    monkeypatch.setattr(sys, "dont_write_bytecode", wrote_none)
    path, search = folder(tmp_path, "a"), list(sys.path)
    shapes_in(path, forget=forget)
    (path / "broken.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError), importing_from(path, forget=forget):
        importlib.import_module("broken")
    assert (sys.path, sys.dont_write_bytecode) == (search, wrote_none)
    assert sorted(item.name for item in path.iterdir()) == ["broken.py", "shapes.py", "shapes_of.py"]


def test_a_module_may_change_the_search_path(tmp_path: Path) -> None:
    """Also by what would be done afterwards anyway."""
    (tmp_path / "shapes.py").write_text("import sys\nFOLDER = sys.path.pop(0)")
    assert shapes_in(tmp_path, forget=True) == str(tmp_path)
