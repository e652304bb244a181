"""One HTTP attempt at a chat completion, and what became of it as a value.

    endpoint.py    `Client`: one attempt at one server; `Reply` or `Unanswered`, never an exception
    replica_set.py `ReplicaSet`: several servers as one endpoint; `EndpointClient`: either of both
    replicas.py    `Replicas`: which of them a call goes to, as pure code
    keys.py        `CommandKey`: a key that is renewed when it is refused
    key_command.py `KeyCommand`: the command that prints it
    hiding.py      what is hidden where an answer quotes it
    body.py        `BodyMemory`: what answers may hold while they are read; bounds, decompression
    streamed.py    `StreamedAnswer`: an event stream read to the document it stands for
    transport.py   `PyreqwestTransport`: httpx's transport interface on pyreqwest's own API
    network.py     `build_transport`: timeouts, proxies and trusted certificates

The seam is `httpx.AsyncBaseTransport`: any other transport of httpx's fits under `Client`.
"""

from __future__ import annotations

from batchrun.client.body import BodyMemory
from batchrun.client.endpoint import Client
from batchrun.client.key_command import KeyCommand, find_program
from batchrun.client.keys import CommandKey
from batchrun.client.network import Timeouts, build_transport
from batchrun.client.replica_set import EndpointClient, ReplicaSet
from batchrun.client.transport import PyreqwestTransport

__all__ = [
    "BodyMemory",
    "Client",
    "CommandKey",
    "EndpointClient",
    "KeyCommand",
    "PyreqwestTransport",
    "ReplicaSet",
    "Timeouts",
    "build_transport",
    "find_program",
]
