"""Files below the media root: looked at when they are listed, read when they are sent."""

from __future__ import annotations

import os
import re
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from batchrun.media.reference import MediaError, shortened

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def listed(name: str, form: str, root: Path | None) -> tuple[Path, str, os.stat_result]:
    """The file that a row names: its path and its place below `root`, links resolved, and its facts.

    Raises MediaError when it is no regular file below `root`. Nothing is read.
    """
    shown = shortened(name)
    if _SCHEME.match(name):
        raise MediaError(f"{form}: {shown}: only http(s) URLs and files below input.media_root can be sent")
    if root is None:
        raise MediaError(f"{form}: {shown} is a file: set input.media_root to the folder it lies in")
    try:
        path = (root / name).resolve()
        inside = path.is_relative_to(root)
        stat = path.stat() if inside else None
    except FileNotFoundError:
        raise MediaError(f"{shown}: no such file below input.media_root ({root})") from None
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte; RuntimeError: a loop
        raise MediaError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if stat is None:
        raise MediaError(f"{shown}: lies outside input.media_root ({root})")
    if not S_ISREG(stat.st_mode):
        raise MediaError(f"{shown}: is {'a folder' if S_ISDIR(stat.st_mode) else 'no regular file'}")
    return path, path.relative_to(root).as_posix(), stat
