"""A command that prints a key: found, run within a time, its output checked."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream

from batchrun.client.hiding import Hidden
from batchrun.errors import UsageError
from batchrun.job.sections.address import looks_like_key

PATIENCE = 30.0
"""Seconds that the command may take."""

_MOST = 64 * 1024
_LINE_LENGTH = 200
_KEY = re.compile(rb"[!-~]+")


def find_program(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> str | None:
    """The file of a command's program, None where there is none.

    It is named by a path from `folder`, or looked up in the PATH of `env`.
    """
    name = words[0]
    if os.sep not in name:
        found = shutil.which(name, path=env.get("PATH"))
        return str(Path(found).absolute()) if found else None
    path = folder / name
    return str(path) if path.is_file() and os.access(path, os.X_OK) else None


class KeyCommand:
    """The `api_key_cmd` of an endpoint.

    It runs in `folder` with the variables of `env`, without a terminal or input, in a session of its own, so
    that a Ctrl-C meant for the run leaves it alone. `patience` in seconds.
    """

    def __init__(
        self,
        endpoint: str,
        words: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str],
        patience: float = PATIENCE,
    ) -> None:
        self._endpoint = endpoint
        self._words = words
        self._folder = folder
        self._env = env
        self._patience = patience

    def __repr__(self) -> str:
        return f"KeyCommand({self._endpoint!r}, {self._words[0]!r})"

    async def run(self) -> str:
        """The key that it prints.

        Raises UsageError when it cannot be run, fails, takes too long, or prints anything but one line
        without blanks. The message holds neither the command's arguments nor what it printed.
        """
        program = find_program(self._words, self._folder, self._env)
        if program is None:
            raise self._wrong("there is no such program")
        printed, told, code = bytearray(), bytearray(), None
        with anyio.move_on_after(self._patience):
            try:
                code = await self._run([program, *self._words[1:]], printed, told)
            except OSError as error:
                raise self._wrong(f"it cannot be run: {error.strerror}") from None
        if len(printed) > _MOST:
            raise self._wrong(f"it printed more than {_MOST:,} bytes")
        if code is None:
            raise self._wrong(f"it did not end within {self._patience:g} s")
        if code != 0:
            ended = f"exit code {code}" if code > 0 else signal.strsignal(-code) or f"signal {-code}"
            raise self._wrong(f"it ended with {ended}{_last_line(told, printed)}")
        return self._key(bytes(printed).strip(), told)

    async def _run(self, command: list[str], printed: bytearray, told: bytearray) -> int:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env=self._env,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        async with process:
            try:
                async with anyio.create_task_group() as readers:
                    readers.start_soon(_read_tail, process.stderr, told)
                    await _read_head(process.stdout, printed)
                    if len(printed) > _MOST:
                        readers.cancel_scope.cancel()
                if len(printed) <= _MOST:
                    await process.wait()
            finally:
                if process.returncode is None:  # and what it started, too
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
            return await process.wait()

    def _key(self, printed: bytes, told: bytearray) -> str:
        if not printed:
            raise self._wrong(f"it printed nothing{_last_line(told, bytearray())}")
        lines = len(printed.splitlines())
        if lines > 1:
            raise self._wrong(f"it printed {lines} lines")
        if not _KEY.fullmatch(printed):
            raise self._wrong("what it printed is no key: it holds blanks or letters outside ASCII")
        return printed.decode("ascii")

    def _wrong(self, what: str) -> UsageError:
        return UsageError(
            f"api_key_cmd of endpoint {self._endpoint}, {self._words[0]}: {what}",
            hint="Run it by hand in the job's folder: it must print the key, on one line, and nothing else.",
        )


async def _read_head(stream: ByteReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk
        if len(into) > _MOST:
            return


async def _read_tail(stream: ByteReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk
        del into[:-_MOST]


def _last_line(told: bytearray, printed: bytearray) -> str:
    """The last line of standard error, as the end of a sentence; without what may be a key."""
    said = Hidden(bytes(printed).decode("latin-1").split()).hide(bytes(told))
    lines = said.decode(errors="replace").strip().splitlines()
    if not lines or looks_like_key(lines[-1]):
        return ""
    return f": {''.join(c for c in lines[-1] if c.isprintable()).strip()[:_LINE_LENGTH]}"
