"""An endpoint that does nothing but answer, in a process of its own: `python -m tests.reliability.responder`.

It prints its port, answers every POST with the same completion after `--delay` seconds, and prints how many
it answered when it is told to end (SIGTERM). The simulator does more and takes longer: a soak would measure
that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_BODY = json.dumps(
    {
        "id": "chatcmpl-soak",
        "object": "chat.completion",
        "created": 1,
        "model": "small",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The parcel is late by two days; please refund."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 21, "completion_tokens": 11, "total_tokens": 32},
    }
).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)
_LENGTH = b"content-length:"


class Answering(asyncio.Protocol):
    """One connection: requests come one at a time."""

    answered = 0
    delay = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (head := self._data.find(b"\r\n\r\n")) >= 0:
            lowered = self._data[:head].lower()
            at = lowered.find(_LENGTH)
            body = int(lowered[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < head + 4 + body:
                return
            self._data = self._data[head + 4 + body :]
            asyncio.get_running_loop().call_later(self.delay, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            Answering.answered += 1
            self._transport.write(_ANSWER)


@contextmanager
def responding(delay: float = 0.0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The base URL of a responder, and its process; `stdout` holds the count after `terminate`."""
    command = [sys.executable, "-m", "tests.reliability.responder", "--delay", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield f"http://127.0.0.1:{port}/v1", process
        finally:
            process.terminate()
            process.stdout.read()  # it says its count, and must be able to


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=1024)
    _say(str(server.sockets[0].getsockname()[1]))
    await stop.wait()
    _say(str(Answering.answered))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    Answering.delay = parser.parse_args().delay
    asyncio.run(_serve())
