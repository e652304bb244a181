"""What the shell changes in a job: `--set a.b=c`, `--model`, `--name`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from batchrun.errors import JobError
from batchrun.job.document.document import Document, read_document
from batchrun.job.document.place import Loc, Problem, dotted
from batchrun.storage import is_remote

PATHS: tuple[Loc, ...] = (
    ("input", "path"),
    ("input", "run"),
    ("input", "media_root"),
    ("schema",),
    ("run_tools", "module"),
    ("output", "path"),
    ("output", "local_path"),
    ("endpoints", "*", "ca_file"),
    ("prompt", "messages", "*", "file"),
)
"""Values that are paths: in the file they start at the job's folder, in the shell at the shell's."""

SCHEMA: Loc = ("schema",)
"""A path, or a class."""

_NOT_ASCII = re.compile(r"[^ -~]")


def spelled_set(key: str, value: Any) -> str:
    """`key=value` as `apply_set` takes it, for a value that is at hand, whatever characters it holds.

    In JSON such characters stand in quotes alone: there YAML reads an escape of eight digits for any of them.
    Raises JobError for a key with an equals sign, and for a value that JSON has no form for.
    """
    if "=" in key:
        raise JobError(f"set: {key!r} is no key of a job", hint="Set the mapping above it as a whole.")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()  # a lone surrogate has no UTF-8
    except (TypeError, ValueError, RecursionError) as error:
        raise JobError(
            f"set: {key}: {error}", hint="Give values that JSON has: text, numbers, lists, dicts."
        ) from error
    return f"{key}={_NOT_ASCII.sub(_escape, text)}"


def _escape(found: re.Match[str]) -> str:
    return f"\\U{ord(found[0]):08x}"


def apply_set(document: Document, text: str, cwd: Path) -> None:
    """Replace one value as `--set a.b=c` says; what is wrong with it goes to the document's problems.

    The value is read as YAML. A number names a list's item, or the place after its last one.
    Mappings on the way that do not exist are made.
    """
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    option = f"--set {name.strip()}"
    if not equals or not all(keys):
        # never the text itself: it may be a key that was given in the wrong place
        text = "write KEY=VALUE, as in --set request.temperature=0.5"
        document.problems.append(Problem((), text, option="--set"))
        return
    found = _find(document.value, keys)
    if isinstance(found, str):
        document.problems.append(Problem((), found, option=option))
        return
    _put(document, found, value, option, cwd)


def replace(document: Document, key: str, value: str, option: str) -> None:
    """Give the job's own `key` the text that an option like `--model` holds."""
    _forget(document, (key,))
    document.shell[(key,)] = option
    document.value = {**document.value, key: value}


def _find(top: Any, keys: list[str]) -> Loc | str:
    """Turn the option's words into a loc: list positions become numbers. A sentence when it cannot be."""
    loc: Loc = ()
    here = top
    for key in keys:
        if isinstance(here, list):
            if not key.isascii() or not key.isdigit() or int(key) > len(here):
                return (
                    f"{dotted(loc)} is a list of {len(here)}: {key} is no position in it (they count from 0)"
                )
            loc = (*loc, int(key))
            here = here[int(key)] if int(key) < len(here) else {}
        elif isinstance(here, dict):
            loc = (*loc, key)
            here = {} if here.get(key) is None else here[key]
        else:
            return f"{dotted(loc)} is a plain value, with nothing below it: set {dotted(loc)} as a whole"
    return loc


def _put(document: Document, loc: Loc, text: str, option: str, cwd: Path) -> None:
    given = read_document(text, loc)
    document.problems += [Problem(loc, problem.text, option=option) for problem in given.problems]
    _forget(document, loc)
    document.words |= given.words
    document.plain |= given.plain
    document.shell[loc] = option
    document.value = _with(document.value, loc, _from_shell(given.value, loc, cwd))


def _with(here: Any, loc: Loc, value: Any) -> Any:
    """Copy the containers on the way to `loc`, and put `value` there."""
    if not loc:
        return value
    key = loc[0]
    if isinstance(here, list) and isinstance(key, int):
        items: list[Any] = [*here, None] if key == len(here) else list(here)
        items[key] = _with(items[key], loc[1:], value)
        return items
    members = {} if here is None else dict(here)
    members[str(key)] = _with(members.get(str(key)), loc[1:], value)
    return members


def _forget(document: Document, loc: Loc) -> None:
    """Drop what the file said about `loc` and everything below it."""
    depth = len(loc)
    for known in (document.lines, document.words, document.shell):
        for part in [part for part in known if part[:depth] == loc]:
            del known[part]
    document.plain = {part for part in document.plain if part[:depth] != loc}


def _from_shell(value: Any, loc: Loc, cwd: Path) -> Any:
    """Make the paths in a value from the shell absolute; one that begins with a variable waits for it.

    An address in object storage is no path.
    """
    if isinstance(value, dict):
        return {key: _from_shell(member, (*loc, key), cwd) for key, member in value.items()}
    if isinstance(value, list):
        return [_from_shell(item, (*loc, index), cwd) for index, item in enumerate(value)]
    if loc == SCHEMA and isinstance(value, str) and is_class(value):
        return value
    if not (isinstance(value, str) and value and is_path(loc)):
        return value
    return value if value.startswith(("$", "~/")) or is_remote(value) else str(cwd / value)


def is_class(spelled: str) -> bool:
    """Whether a schema is spelled as a class, package.module:Class, and not as a path."""
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", spelled) is not None


def is_path(loc: Loc) -> bool:
    """Whether the job's value at `loc` is a path."""
    return any(
        len(pattern) == len(loc) and all(want in ("*", part) for want, part in zip(pattern, loc, strict=True))
        for pattern in PATHS
    )
