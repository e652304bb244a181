"""What may stand on a disk after a power cut, given what was done to its files and when it was synced.

The rules are POSIX's and no more: an fsync of a file keeps what had been written to it when the fsync began,
an fsync of a folder keeps its names. Of everything else any part may be there. A rename takes away one name
and gives the other at once.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

from tests.reliability.syscalls import Change

PAGE = 4096


@dataclass(slots=True, eq=False)
class Node:
    """A file, folder or symlink with all that was ever done to it.

    A folder's changes are names with what they stand for from then on (None: nothing), a file's are writes
    (offset, bytes) and cuts (length, None).
    """

    kind: str
    target: str = ""
    names: list[tuple[int, dict[str, Node | None]]] = field(default_factory=list)
    writes: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)
    """When each ended, and how many changes had been made when it began."""
    now: dict[str, Node] = field(default_factory=dict)
    size: int = 0

    def kept(self, instant: int) -> int:
        """The number of changes whose traces here are safe at an instant."""
        return max((covered for ended, covered in self.syncs if ended < instant), default=0)


class Choice(Protocol):
    """Says what is there of that which was not synced."""

    def names(self, pending: int) -> Sequence[bool]:
        """For each of so many changes of a folder's names, whether it is there."""
        ...

    def data(self, safe: bytes, written: Sequence[tuple[int, bytes | None]]) -> bytes:
        """What stands in a file that held `safe`, of what was `written` since."""
        ...


class Disk:
    """The files below a folder, through all `changes`; instant `n` is just before change `n` ends."""

    def __init__(self, root: Path, changes: Sequence[Change]) -> None:
        self._root = root
        self.changes = changes
        self._top = Node("folder")
        ends = [change.end for change in changes]
        for number, change in enumerate(changes):
            self._apply(number, change, bisect_right(ends, change.start))

    def _find(self, path: Path) -> Node | None:
        node: Node | None = self._top
        for name in path.relative_to(self._root).parts:
            node = node.now.get(name) if node else None
        return node

    def _folder(self, path: Path) -> Node:
        node = self._find(path.parent)
        assert node is not None, f"{path.parent} was there before the recording"
        return node

    def _name(self, number: int, *names: tuple[Path, Node | None]) -> None:
        """Give names, or take them away, all at once; they are in one folder."""
        folder = self._folder(names[0][0])
        folder.names.append((number, {path.name: node for path, node in names}))
        for path, node in names:
            if node is None:
                folder.now.pop(path.name, None)
            else:
                folder.now[path.name] = node

    def _apply(self, number: int, change: Change, begun: int) -> None:
        path, node = change.path, self._find(change.path)
        match change.kind:
            case "open":
                if node is None:
                    self._name(number, (path, Node("file")))
                elif change.offset == 0:
                    self._cut(node, number, 0)
            case "write":
                assert node is not None, path
                at = node.size if change.offset is None else change.offset
                node.writes.append((number, at, change.data))
                node.size = max(node.size, at + len(change.data))
            case "truncate":
                assert node is not None, path
                self._cut(node, number, change.offset or 0)
            case "grow":
                assert node is not None, path
                self._cut(node, number, max(node.size, change.offset or 0))
            case "sync":
                assert node is not None, path
                node.syncs.append((number, min(begun, number)))
            case "mkdir":
                self._name(number, (path, Node("folder")))
            case "symlink":
                self._name(number, (path, Node("symlink", target=os.fsdecode(change.data))))
            case "remove":
                self._name(number, (path, None))
            case "link":
                assert change.other is not None
                self._name(number, (path, self._find(change.other)))
            case "rename":
                assert change.other is not None
                assert change.other.parent == path.parent
                self._name(number, (change.other, None), (path, self._find(change.other)))

    @staticmethod
    def _cut(node: Node, number: int, length: int) -> None:
        node.writes.append((number, length, None))
        node.size = length

    def write(self, instant: int, choice: Choice, folder: Path) -> None:
        """Make `folder`, which exists, what the recorded one may be after a power cut at an instant."""
        self._fill(self._top, folder, instant, choice, {})

    def _fill(self, node: Node, path: Path, instant: int, choice: Choice, made: dict[Node, Path]) -> None:
        kept = node.kept(instant)
        pending = [names for number, names in node.names if kept <= number < instant]
        there: dict[str, Node | None] = {}
        for number, names in node.names:
            if number < kept:
                there |= names
        for names, survives in zip(pending, choice.names(len(pending)), strict=True):
            there |= names if survives else {}
        for name, inner in there.items():
            if inner is not None:
                self._make(inner, path / name, instant, choice, made)

    def _make(self, node: Node, path: Path, instant: int, choice: Choice, made: dict[Node, Path]) -> None:
        if node.kind == "symlink":
            path.symlink_to(node.target)
        elif node.kind == "folder":
            path.mkdir(mode=0o700)
            self._fill(node, path, instant, choice, made)
        elif node in made:
            path.hardlink_to(made[node])
        else:
            kept = node.kept(instant)
            safe = content(b"", [(at, data) for number, at, data in node.writes if number < kept])
            since = [(at, data) for number, at, data in node.writes if kept <= number < instant]
            path.write_bytes(choice.data(safe, since) if since else safe)
            made[node] = path


def content(before: bytes, written: Sequence[tuple[int, bytes | None]]) -> bytes:
    """A file's bytes after writes (offset, bytes) and cuts (length, None)."""
    now = bytearray(before)
    for at, data in written:
        if data is None:
            del now[at:]
            now.extend(bytes(at - len(now)))
        else:
            now.extend(bytes(max(0, at - len(now))))
            now[at : at + len(data)] = data
    return bytes(now)


@dataclass(frozen=True, slots=True)
class Extreme:
    """All names or none, and all data, none, or zeros: a file can grow before its data is there."""

    all_names: bool
    filled: str
    """all, none or zeros."""

    def names(self, pending: int) -> Sequence[bool]:
        return [self.all_names] * pending

    def data(self, safe: bytes, written: Sequence[tuple[int, bytes | None]]) -> bytes:
        now = content(safe, written)
        if self.filled == "zeros":
            return safe + bytes(max(0, len(now) - len(safe)))
        return now if self.filled == "all" else safe


EXTREMES = [Extreme(names, filled) for names in (False, True) for filled in ("none", "all", "zeros")]


class Chance:
    """Any part of it, drawn; a write may be torn, and a later page be there without an earlier."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def names(self, pending: int) -> Sequence[bool]:
        share = self._random.choice([0.1, 0.5, 0.9])
        return [self._random.random() < share for _ in range(pending)]

    def data(self, safe: bytes, written: Sequence[tuple[int, bytes | None]]) -> bytes:
        now = content(safe, written)
        match self._random.randrange(5):
            case 0:
                return safe
            case 1:
                return now
            case 2:
                return self._torn(safe, written)
            case 3:
                return self._pages(safe, now)
        return safe + bytes(self._random.randint(0, max(0, len(now) - len(safe))))

    def _torn(self, safe: bytes, written: Sequence[tuple[int, bytes | None]]) -> bytes:
        last = self._random.randrange(len(written))
        at, data = written[last]
        torn = None if data is None else data[: self._random.randint(0, len(data))]
        return content(safe, [*written[:last], (at, torn)])

    def _pages(self, safe: bytes, now: bytes) -> bytes:
        length = self._random.choice([len(now), self._random.randint(min(len(safe), len(now)), len(now))])
        old = safe.ljust(length, b"\0")
        starts = range(0, length, PAGE)
        pages = [(now if self._random.random() < 0.5 else old)[at : at + PAGE] for at in starts]
        return b"".join(pages)[:length]
