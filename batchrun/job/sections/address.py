"""Checks of what leads to a server: URLs, proxies, headers, a command for the key. None may hold a key.

No message quotes a value: it may be the key that should not be here.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from urllib.parse import SplitResult, urlsplit

from batchrun.job.document.place import Loc, WrongPartsError

_KEY_HEADER = re.compile(
    r"authorization|(api|access|subscription)-?_?key|(auth|access|api)-?_?token|^(x-)?(key|token)$"
    r"|secret|password|credential|cookie",
    re.IGNORECASE,
)
_KEY_VALUE = re.compile(r"^(bearer|basic)\s", re.IGNORECASE)
_KEY_SHAPE = re.compile(r"\b((sk|xai)-[A-Za-z0-9_-]*?|(gsk|tgp|hf)_[A-Za-z0-9_]*?)[A-Za-z0-9]{20}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token
_OURS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)

NAME_THE_VARIABLE = "write the NAME of an environment variable in api_key_env"


def looks_like_key(text: str) -> bool:
    """Whether `text` has the form of a provider's API key or of a bearer token."""
    return bool(_KEY_VALUE.match(text) or _KEY_SHAPE.search(text))


def check_base_url(url: str | None) -> str | None:
    """Return the URL without a slash at its end.

    Raises ValueError for what is no http(s) URL, or holds a user, a query or a fragment:
    a key must not stand there, and a path is appended to it.
    """
    if url is None:
        return None
    if re.search(r"[,;\s]\s*https?://", url):
        raise ValueError("holds several URLs: write replicas as a list, base_url: [http://…, http://…]")
    parts = _http_url(url)
    if "@" in parts.netloc:
        raise ValueError(f"must not hold a user or a password: {NAME_THE_VARIABLE}")
    if parts.query or parts.fragment or url.rstrip().endswith(("?", "#")):
        raise ValueError(
            f"must not hold a query (?…) or a fragment (#…); if that is a key, {NAME_THE_VARIABLE}"
        )
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("must end before /chat/completions, usually with /v1")
    return url.rstrip("/")


def check_base_urls(given: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """Return one URL, or those of replicas, without a slash at the end.

    Raises ValueError as `check_base_url` does; for one of several, WrongPartsError.
    """
    if not isinstance(given, tuple):
        return check_base_url(given)
    wrong: list[tuple[Loc, str]] = []
    checked: dict[str, int] = {}
    for at, url in enumerate(given):
        try:
            first = checked.setdefault(_same(check_base_url(url) or ""), at)
        except ValueError as error:
            wrong.append(((at,), str(error)))
            continue
        if first != at:
            wrong.append(((at,), f"is the same replica as number {first}, counted from 0: keep one"))
    WrongPartsError.raise_any(wrong)
    return tuple(url.rstrip("/") for url in given)


def _same(url: str) -> str:
    """The URL as any other way to write the same address gives it (RFC 3986, 6.2.2 and 6.2.3)."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path}"


def check_proxy(url: str | None) -> str | None:
    """Check that a proxy is the URL of an HTTP proxy."""
    if url is not None:
        _http_url(url)
    return url


def _http_url(url: str) -> SplitResult:
    wrong = "must be one URL, like https://api.example.com/v1"
    if re.search(r"\s", url) or not url.isprintable():
        raise ValueError(f"{wrong}, without spaces")
    try:
        parts = urlsplit(url)
        reachable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(wrong) from None  # not chained: its text quotes the URL
    if parts.scheme not in ("http", "https") or not reachable:
        raise ValueError(wrong)
    return parts


def check_headers(headers: dict[str, str]) -> dict[str, str]:
    """Raise WrongPartsError for headers that hold a key, are batchrun's own, or are malformed."""
    found = ((name, _wrong_header(name, value)) for name, value in headers.items())
    WrongPartsError.raise_any([((name,), text) for name, text in found if text])
    return headers


def _wrong_header(name: str, value: str) -> str | None:
    if _KEY_HEADER.search(name) or looks_like_key(value):
        return f"looks like a key, which is never written in a job: {NAME_THE_VARIABLE}"
    if name.lower() in _OURS:
        return "is set by batchrun: leave it out"
    if not _HEADER_NAME.fullmatch(name):
        return "is no name for a header: use letters, digits and -"
    if not value.isascii() or not value.isprintable():
        return "must be printable ASCII"
    return None


def check_key_header(name: str | None) -> str | None:
    """Return the name of the header that carries a key, in lower case. Raises ValueError."""
    if name is None:
        return None
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS or looks_like_key(name):
        raise ValueError("must be the NAME of the header that carries the key, like api-key")
    return name.lower()


def in_clear(base_url: str) -> bool:
    """Whether what is sent to `base_url` can be read on the way: http to another machine."""
    parts = urlsplit(base_url)
    return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def on_this_machine(address: str) -> bool:
    """Whether a URL, or a proxy's `host:port`, leads to a loopback address."""
    return _is_loopback(urlsplit(address if "://" in address else f"http://{address}").hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""")
_FOR_A_SHELL = re.compile(r"[|&;<>`]|\$[A-Za-z_({]|(^|\s)~|^\s*[A-Za-z_][A-Za-z0-9_]*=")
"""Pipes and the like, `$VARIABLE`, `~` for the home folder, a `NAME=value` before the command."""


def command_words(command: str | tuple[str, ...]) -> tuple[str, ...]:
    """The words of `command`: a line split as a shell would (POSIX), or words already.

    Raises ValueError, which never quotes the line, for what is no single command: it is run without a
    shell, so that a pipe in it would be a mere argument.
    """
    if isinstance(command, tuple):
        return command
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        raise ValueError("must be a command line whose quotes close") from None  # not chained: it may quote
    if _FOR_A_SHELL.search(_QUOTED.sub("", command)):
        raise ValueError(
            "is run without a shell, and holds what only a shell understands: write a script, "
            'or a list of words, [sh, -c, "…"]'
        )
    return words
