"""The responder, which is not ours: nginx with its echo module, one process, on loopback.

On Debian: `apt install nginx libnginx-mod-http-echo`.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.benchmarks import answers
from tests.benchmarks.shapes import Shape

INSTALL = "apt install nginx libnginx-mod-http-echo"
_START = 10.0
"""Seconds until it must answer."""
_LONGEST_WORD = 3_000
"""Bytes. nginx reads no word of its configuration that is longer than 4,096, escapes included."""

_CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_max_body_size 1m;
  client_body_buffer_size 128k;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port}{ssl} backlog=4096;
    {certificate}
    location = /v1/chat/completions {{
      {answer}
    }}
    {named}
  }}
  server {{ listen 127.0.0.1:{status_port}; location / {{ stub_status; }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Responder:
    """An nginx that runs."""

    base_url: str
    ca_file: Path | None
    """The authority of its certificate, where it speaks TLS."""
    pid: int
    status_port: int

    def answered(self) -> int:
        """Requests that it has received so far; each that asks for this number is one too."""
        connection = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=_START)
        connection.request("GET", "/")
        told = connection.getresponse().read().decode()
        connection.close()
        return int(told.splitlines()[2].split()[2])

    def cpu(self) -> float:
        """Seconds of processor time that it took so far."""
        told = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def missing() -> str | None:
    """What is missing to run it, with the command that installs it; None where all is there."""
    if shutil.which("nginx") is None:
        return f"nginx is not installed: {INSTALL}"
    if not _echo_module().exists():
        return f"nginx has no echo module: {INSTALL}"
    return None


@contextmanager
def responding(folder: Path, shape: Shape) -> Iterator[Responder]:
    """An nginx that answers as `shape` says until the block ends; its files are in `folder`.

    Raises RuntimeError, with what it wrote, when it does not come up.
    """
    port, status_port = _free_ports(2)
    if shape.tls:
        _write_certificates(folder)
    (folder / "nginx.conf").write_bytes(configuration(shape, port, status_port))
    command = ["nginx", "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _await(process, status_port, folder)
            base_url = f"{'https' if shape.tls else 'http'}://127.0.0.1:{port}/v1"
            yield Responder(base_url, folder / "ca.pem" if shape.tls else None, process.pid, status_port)
        finally:
            process.terminate()


def configuration(shape: Shape, port: int, status_port: int) -> bytes:
    """The configuration: the whole request is read, and after its latency answered.

    A whole answer has a Content-Length; a stream comes chunked, its latency spread over its pieces.
    """
    answer, named = _streaming(shape) if shape.stream else _answering(shape)
    text = _CONFIGURATION.format(
        module=_echo_module(),
        port=port,
        status_port=status_port,
        ssl=" ssl" if shape.tls else "",
        certificate="ssl_certificate chain.pem; ssl_certificate_key key.pem;" if shape.tls else "",
        answer=answer,
        named=named,
    )
    return text.encode()


def _answering(shape: Shape) -> tuple[str, str]:
    body = answers.whole(shape.answer).decode()
    words = [body[at : at + _LONGEST_WORD] for at in range(0, len(body), _LONGEST_WORD)]
    sets = "\n".join(f"set $part{number} {_quoted(word)};" for number, word in enumerate(words))
    joined = "".join(f"$part{number}" for number in range(len(words)))
    sleep = f"echo_sleep {shape.milliseconds / 1000};" if shape.milliseconds else ""
    named = f'location @answer {{ default_type application/json;\n{sets}\nreturn 200 "{joined}"; }}'
    return f"echo_read_request_body; {sleep} echo_exec @answer;", named


def _streaming(shape: Shape) -> tuple[str, str]:
    pieces = answers.streamed(shape.answer)
    sleep = f"echo_sleep {shape.milliseconds / 1000 / len(pieces)};" if shape.milliseconds else ""
    steps = [f"{sleep} {_echoed(piece.decode())} echo_flush;" for piece in pieces]
    return "\n".join(["default_type text/event-stream; echo_read_request_body;", *steps]), ""


def _echoed(piece: str) -> str:
    words = [piece[at : at + _LONGEST_WORD] for at in range(0, len(piece), _LONGEST_WORD)]
    return " ".join(f"echo -n {_quoted(word)};" for word in words)


def _quoted(word: str) -> str:
    """As nginx reads strings. It has no way to write a dollar sign, and the answers have none."""
    assert "$" not in word
    return "'" + re.sub(r"(['\\])", r"\\\1", word) + "'"


def _echo_module() -> Path:
    """Where this nginx looks for modules, which it says among its build options."""
    told = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"--modules-path=(\S+)", told)
    return Path(found[1] if found else "/usr/lib/nginx/modules") / "ngx_http_echo_module.so"


def _write_certificates(folder: Path) -> None:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server.private_key_pem.write_to_path(str(folder / "key.pem"))
    for blob in server.cert_chain_pems:
        blob.write_to_path(str(folder / "chain.pem"), append=True)


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _await(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    log = folder / "error.log"
    raise RuntimeError(f"nginx did not start: {log.read_text() if log.exists() else 'it wrote nothing'}")
