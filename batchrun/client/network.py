"""How calls reach an endpoint: proxies, trusted certificates, kept connections."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import certifi
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import BuilderError
from pyreqwest.proxy import ProxyBuilder

from batchrun.client.over_pyreqwest import PyreqwestTransport
from batchrun.client.timeouts import Timeouts
from batchrun.errors import UsageError

KEEP_ALIVE = 4.0
"""Seconds an unused connection is kept. uvicorn, so vLLM too, closes them after 5: a request that
crosses that close counts as possibly paid, while a new connection costs a handshake."""

_LOOPBACK = "localhost,127.0.0.0/8,::1"
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def build_transport(
    timeouts: Timeouts,
    *,
    proxy: str | None = None,
    ca_file: Path | None = None,
    max_connections: int,
) -> PyreqwestTransport:
    """The transport of one endpoint.

    `proxy` (http, https, socks5 or socks5h URL) carries every call. Without it the environment's
    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count, as in httpx and curl, but never for
    loopback addresses. The certificates in `ca_file` (PEM) are trusted in addition to the
    system's; a system without any is given certifi's. `max_connections` are kept for reuse; how
    many are open is the callers' decision, one for each call in flight, and none ever waits here.

    Raises UsageError when the proxy's address or the file cannot be used.
    """
    proxies = _proxies(proxy)
    extra = None if ca_file is None else _certificates(ca_file)
    try:
        connections = _builder(timeouts, proxies, extra, max_connections).build()
    except BuilderError as error:
        if ca_file is not None:
            raise _no_certificates(ca_file, error.details) from error
        # A minimal container has no certificates at all, and pyreqwest then refuses plain http too.
        fallback = Path(certifi.where()).read_bytes()
        connections = _builder(timeouts, proxies, fallback, max_connections).build()
    return PyreqwestTransport(connections)


def _builder(
    timeouts: Timeouts, proxies: list[ProxyBuilder], certificates: bytes | None, max_idle: int
) -> ClientBuilder:
    builder = (
        ClientBuilder()
        .follow_redirects(enable=False)  # a redirect would carry the key to another host
        .connect_timeout(timedelta(seconds=timeouts.connect))
        .read_timeout(timedelta(seconds=timeouts.idle))
        .pool_max_idle_per_host(max_idle)
        .pool_idle_timeout(timedelta(seconds=KEEP_ALIVE))
        .no_proxy()  # the environment is read here, to leave loopback out
    )
    for proxy in proxies:
        builder = builder.proxy(proxy)
    return builder if certificates is None else builder.add_root_certificate_pem(certificates)


def _certificates(ca_file: Path) -> bytes:
    """The file's bytes, once OpenSSL could read a certificate in it: pyreqwest accepts any text."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
        return ca_file.read_bytes()
    except OSError as error:  # SSLError is one too
        raise _no_certificates(ca_file, error.strerror or error) from error


def _no_certificates(ca_file: Path, reason: object) -> UsageError:
    return UsageError(
        f"ca_file {ca_file}: {reason}",
        hint="It must be a PEM file with the certificates of the authorities to trust.",
    )


def _proxies(proxy: str | None) -> list[ProxyBuilder]:
    if proxy is not None:
        return [_proxy(ProxyBuilder.all, proxy, "proxy")]
    return _environment_proxies(urllib.request.getproxies())


def _environment_proxies(found: Mapping[str, str]) -> list[ProxyBuilder]:
    exempt = found.get("no", "")
    if "*" in exempt.replace(",", " ").split():
        return []
    make = {"http": ProxyBuilder.http, "https": ProxyBuilder.https, "all": ProxyBuilder.all}
    return [
        _proxy(make[scheme], found[scheme], f"{scheme.upper()}_PROXY").no_proxy(f"{_LOOPBACK},{exempt}")
        for scheme in make
        if found.get(scheme)
    ]


def _proxy(make: Callable[[str], ProxyBuilder], text: str, source: str) -> ProxyBuilder:
    """`text` as a proxy's URL; `host:port` alone means http. The message leaves out its password."""
    url = text if "://" in text else f"http://{text}"
    try:
        if url.partition("://")[0].lower() not in _PROXY_SCHEMES:
            raise ValueError("another scheme")
        return make(url)
    except ValueError:
        raise UsageError(
            f"{source}: not the address of a proxy",
            hint=f"Write it as http://HOST:PORT; the schemes are {', '.join(_PROXY_SCHEMES)}.",
        ) from None
