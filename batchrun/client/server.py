"""One server: its address, what is sent along with every request, and what is hidden of its answers."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote, urlsplit

from batchrun.client.hiding import Hidden, keys_in
from batchrun.client.keys import CommandKey
from batchrun.errors import UsageError

_DEFAULT_HEADERS = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": "batchrun",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t -~]*")  # RFC 9110, 5.5, without its obsolete bytes
_USERINFO = re.compile(r"(\w+://)[^/@\s]*@")
_QUERY = re.compile(r"(\w+://[^?#\s]*)[?#][^\s)]*")


class Server:
    """A server at `base_url`, which `headers` are sent to.

    A query in the address is kept, a user and password in it become Basic authorization unless `headers`
    carry one. A bearer key, a password and each of `secrets` of at least 8 characters is hidden. `key`, where
    it is given, is sent in its header. Raises UsageError when the address or a header cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        secrets: Collection[str] = (),
        key: CommandKey | None = None,
    ) -> None:
        self._base_url, userinfo = _without_userinfo(base_url)
        self._headers = _checked(headers, _without_secrets(self._base_url))
        if userinfo:  # RFC 7617, 2
            self._headers.setdefault("authorization", "Basic " + base64.b64encode(userinfo.encode()).decode())
        self._hidden = Hidden([*secrets, *keys_in(self._headers)])
        self.key = key

    def url(self, path: str) -> str:
        """The address of `path`, which is added to that of the base URL."""
        url = urlsplit(self._base_url)
        return url._replace(path=url.path.rstrip("/") + path, fragment="").geturl()

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries, the key as it is now included."""
        if self.key:
            return {**self._headers, **self.key.headers}
        return self._headers

    def hide(self, body: bytes) -> bytes:
        """`body` without the keys, passwords and secrets that are sent."""
        body = self._hidden.hide(body)
        return self.key.hidden.hide(body) if self.key else body

    def hide_text(self, text: str) -> str:
        """The same for a text."""
        return self.hide(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def hide_in(self, headers: dict[str, str]) -> dict[str, str]:
        """The same for the headers of an answer."""
        together = "\n".join(headers.values()).encode()
        if self.hide(together) is together:  # nearly always, and much faster than one by one
            return headers
        return {name: self.hide(value.encode()).decode() for name, value in headers.items()}

    def message(self, request: str, reason: str, *, sent: bool) -> str:
        """Why a request has no answer, for people: `request` is its method and address."""
        fate = "the request had been sent" if sent else "nothing was sent"
        reason = self.hide(_without_secrets(reason).encode(errors="replace")).decode()
        return f"{request.partition('?')[0]}: {reason}; {fate}{_advice(reason)}"


def _without_userinfo(base_url: str) -> tuple[str, str]:
    """The address without `USER:PASSWORD`, and these, if it has them."""
    try:
        url = urlsplit(base_url)
        is_one = url.scheme in ("http", "https") and bool(url.hostname) and base_url.isprintable()
    except ValueError:
        is_one = False
    if not is_one:
        raise UsageError(
            f"base_url {_without_secrets(base_url)!r}: not the address of an endpoint",
            hint="Write it as https://HOST/v1, without /chat/completions.",
        )
    userinfo, _, host = url.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    return url._replace(netloc=host).geturl(), f"{unquote(user)}:{unquote(password)}" if userinfo else ""


def _checked(headers: Mapping[str, str], where: str) -> dict[str, str]:
    """The headers of every call; a message names a bad one without its value, which may be the key."""
    for name, value in headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise UsageError(
                f"header {name!r} for {where}: it holds a character that HTTP does not allow",
                hint="Look for a line break or a letter outside ASCII in its name, its value or the key.",
            )
    return {**_DEFAULT_HEADERS, **{name.lower(): value for name, value in headers.items()}}


def _without_secrets(text: str) -> str:
    return _QUERY.sub(r"\1", _USERINFO.sub(r"\1", text))


_ADVICE = (
    ("Connection refused", "is the server running, and is base_url right?"),
    ("failed to lookup address", "is the host in base_url spelled right?"),
    ("UnknownIssuer", "the endpoint's ca_file can name the authority to trust"),
    ("certificate not valid for name", "base_url must have the host that the certificate names"),
    ("certificate expired", "the server's certificate must be renewed, or this machine's clock is wrong"),
    ("InvalidContentType", "does the server speak plain http there?"),
    ("Too many open files", "raise `ulimit -n`, or lower the endpoint's limits.concurrency"),
)


def _advice(reason: str) -> str:
    return next((f"; {advice}" for sign, advice in _ADVICE if sign in reason), "")
