"""--env-file: variables from a file that only its owner can read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.errors import UsageError
from batchrun.job import read_env_file
from batchrun.job.env_file import _variable


def _file(folder: Path, data: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "keys.env"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=v", "v"),
        ("export K=v", "v"),
        ("  K = v  ", "v"),
        ("K=", ""),
        ("K=a=b", "a=b"),
        ("K=a b", "a b"),
        ("K=v # comment", "v"),
        ("K=v#no-comment", "v#no-comment"),
        ("K=# comment", ""),
        ("K='a # b'", "a # b"),
        ("K='a' # b", "a"),
        ("K='a\\n'", "a\\n"),
        ('K="a\\n\\"b\\" \\\\"', 'a\n"b" \\'),
        ("K=$HOME ${X}", "$HOME ${X}"),
        ("K=v\r", "v"),
        ("K=1\nK=2", "2"),
        ("# c\n\n  # d\nK=v", "v"),
        ("\ufeffK=v", "v"),
    ],
)
def test_lines_are_read_as_a_shell_would(tmp_path: Path, line: str, value: str) -> None:
    """Quotes, comments and `export` mean what they mean in a shell; nothing is expanded."""
    assert read_env_file(_file(tmp_path, line + "\n")) == {"K": value}


@given(value=st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" ")))
def test_a_quoted_value_comes_back(value: str) -> None:
    """Any text can be given in double quotes, with \\ before quotes and backslashes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    assert _variable(f'K="{escaped}"', "f:1") == ("K", value)


@pytest.mark.parametrize(
    "line", ["hidden", "1K=hidden", "K='hidden", 'K="hidden', "K='hid'den", "K=hid\0den"]
)
def test_a_wrong_line_is_named_and_not_shown(tmp_path: Path, line: str) -> None:
    """The message gives file and line; the line itself may be a key."""
    path = _file(tmp_path, f"A=1\n{line}\n")
    with pytest.raises(UsageError) as caught:
        read_env_file(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "hid" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """Keys that others can read or change are no secrets; the message has the command to run."""
    path = _file(tmp_path, "K=v\n", mode)
    with pytest.raises(UsageError) as caught:
        read_env_file(path)
    assert f"run: chmod 600 {path}" in str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and bytes that are no text end as messages without the bytes."""
    with pytest.raises(UsageError, match="No such file"):
        read_env_file(tmp_path / "none.env")
    with pytest.raises(UsageError, match="not UTF-8 text") as caught:
        read_env_file(_file(tmp_path, b"K=hidden\xff\n"))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
