"""Files of variables, which may hold keys: no message quotes a line of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.reliability.corpus.case import Case, Content

REFUSED: dict[str, bytes] = {
    "no equals sign": b"A=1\nSECRET\n",
    "a name with a dash": b"SECRET-A=1\n",
    "a name that begins with a digit": b"1SECRET=x\n",
    "no name": b"=SECRET\n",
    "JSON": b'{"SECRET": 1}\n',
    "YAML": b"SECRET: 1\n",
    "an open quote": b'A="SECRET\n',
    "an open single quote": b"A='SECRET\n",
    "text after the quote": b'A="x" SECRET\n',
    "a NUL": b"A=SE\x00CRET\n",
    "UTF-16": "A=SECRET\n".encode("utf-16"),
    "Latin-1": "A=SECRÉT\n".encode("latin-1"),
    "binary": bytes(range(256)),
    "a name in Greek": "Αλφα=SECRET\n".encode(),
    "20 MB": b"A=SECRET\n" * 2_300_000,
}
TAKEN: dict[str, tuple[bytes, dict[str, str]]] = {
    "nothing": (b"", {}),
    "comments": (b"# A=1\n\n  # B=2\nC=3 # no\n", {"C": "3"}),
    "CRLF": (b"A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    "byte order mark": (b"\xef\xbb\xbfA=1\n", {"A": "1"}),
    "export": (b"export A=1\n", {"A": "1"}),
    "twice": (b"A=1\nA=2\n", {"A": "2"}),
    "quotes": (b'A=\'x # y\'\nB="a\\n\\"b"\n', {"A": "x # y", "B": 'a\n"b'}),
    "nothing expanded": (
        b"A=$HOME\nB=${HOME}\nC=$(id)\nD=`id`\n",
        {"A": "$HOME", "B": "${HOME}", "C": "$(id)", "D": "`id`"},
    ),
    "equals signs": (b"A=b=c==\n", {"A": "b=c=="}),
    "empty": (b"A=\nB=''\n", {"A": "", "B": ""}),
    "white space": (b"  A  =  x y  \n", {"A": "x y"}),
    "no final newline": (b"A=1", {"A": "1"}),
}


def cases() -> Iterator[Case]:
    """Every file of this module."""
    for name, data in REFUSED.items():
        yield Case("env files", name, {"env": _private(data)}, env_file="env", refused=r"^(?!.*SECR).*env")
    for name, (data, variables) in TAKEN.items():
        yield Case("env files", name, {"env": _private(data)}, env_file="env", variables=variables)
    yield Case("env files", "none", env_file="nothing", refused="--env-file")
    yield Case("env files", "a folder", {"env/x": b""}, env_file="env", refused="--env-file")
    yield Case("env files", "open to others", {"env": _open}, env_file="env", refused="chmod 600")
    zero = {"env": lambda path: path.symlink_to("/dev/zero")}
    yield Case("env files", "/dev/zero", zero, env_file="env", refused="larger than")


def _private(data: bytes) -> Content:
    def write(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(0o600)

    return write


def _open(path: Path) -> None:
    path.write_bytes(b"A=SECRET\n")
    path.chmod(0o644)
