"""A user's Python file, imported, and the functions that a job names in it."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from batchrun import codec
from batchrun.errors import JobError
from batchrun.functions.calling import Function, Functions
from batchrun.functions.signature import SignatureError, arguments_model, definition
from batchrun.importing import importing_from

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the API takes for a function's name (OpenAI's reference, `FunctionDefinition.name`)."""


def load_functions(module: Path, names: Sequence[str], *, where: str) -> Functions:
    """Import the file `module` and prepare the functions `names` as tools, in this order.

    Files in the module's folder can be imported by it while it is imported, not later. Raises JobError,
    beginning with `where`, when the file cannot be imported, a name is no function in it, or its
    parameters cannot be described.
    """
    loaded = _imported(module, where)
    return Functions(tuple(_prepared(loaded, module, name, where) for name in dict.fromkeys(names)))


def _prepared(loaded: ModuleType, module: Path, name: str, where: str) -> Function:
    found = getattr(loaded, name, None)
    if not _is_function(found):
        what = "it has none of that name" if found is None else f"`{name}` there is a {type(found).__name__}"
        known = ", ".join(_public(loaded)) or "none"
        raise JobError(f"{where}: no function `{name}` in {module}: {what}", hint=f"Functions: {known}")
    if not _NAME.fullmatch(name):
        raise JobError(
            f"{where}: `{name}` is no name for a tool",
            hint="Use at most 64 letters (a to z), digits, _ and -.",
        )
    try:
        model = arguments_model(found)
        return Function(name, definition(name, found, model), model, found)
    except SignatureError as error:
        raise JobError(f"{where}: {_place(found, module)}: {name}: {error}", hint=error.hint) from error


def _is_function(value: Any) -> TypeGuard[Callable[..., Any]]:
    """A function or a bound method; decorated ones too (`functools.cache` makes a callable of its own)."""
    return callable(value) and (inspect.isfunction(inner := inspect.unwrap(value)) or inspect.ismethod(inner))


def _public(loaded: ModuleType) -> list[str]:
    members = vars(loaded).items()
    return [name for name, value in members if not name.startswith("_") and _is_function(value)]


def _place(function: Callable[..., Any], module: Path) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else str(module)


def _imported(module: Path, where: str) -> ModuleType:
    path = module.resolve()
    name = f"batchrun_functions_{codec.digest(str(path).encode())}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        what = "is no Python file (.py)" if path.exists() else "does not exist"
        raise JobError(f"{where}: {module} {what}", hint="Name the file that the functions are in.")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses and hints written as text look their module up there
    try:
        with importing_from(path.parent, forget=False):  # functions run later
            spec.loader.exec_module(loaded)
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        del sys.modules[name]
        raise JobError(
            f"{where}: {_origin(error, path)}: {type(error).__name__}: {error}",
            hint="Put that right: the file is run once, to take its functions.",
        ) from error
    return loaded


def _origin(error: BaseException, path: Path) -> str:
    """File and line of an exception: the innermost ones that lie in the module's folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [f"{file}:{line}" for file, line in frames if Path(file).is_relative_to(path.parent)]
    return own[-1] if own else str(path)
