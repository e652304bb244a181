"""One HTTP attempt at a chat completion, and what became of it as a value.

    endpoint.py       `Client`: one attempt at one server; `Response` or `NoResponse`, never an exception
    server.py         `Server`: its address, what every request carries, what is hidden of its answers
    resources.py      `Resources`: files, batches and stored completions of an endpoint
    replica_set.py    `ReplicaSet`: several servers as one endpoint; `EndpointClient`: either of both
    replicas.py       `Replicas`: which of them a call goes to, as pure code
    keys.py           `CommandKey`: a key that is renewed when it is refused
    key_command.py    `KeyCommand`: the command that prints it
    hiding.py         what is hidden where an answer quotes it
    body.py           `BodyMemory`: what answers may hold while they are read, and each of them
    streamed.py       `StreamedAnswer`: an event stream read to the document it stands for
    timeouts.py       `Timeouts`: how long a call may take
    transport.py      `Transport`: the seam, what carries a call
    over_pyreqwest.py `PyreqwestTransport`: calls on pyreqwest's own API
    over_httpx.py     `HttpxTransport`: calls on a transport of httpx's
    lasting.py        `load_to_stay`: pyreqwest, loaded in a thread that never ends
    network.py        `build_transport`: proxies, trusted certificates, kept connections

The seam is `Transport`; any transport of httpx's fits under `Client` too.
"""

from __future__ import annotations

from batchrun.client.lasting import load_to_stay

load_to_stay("pyreqwest.client")  # before what is imported below uses it

from batchrun.client.body import BodyMemory
from batchrun.client.endpoint import Client
from batchrun.client.key_command import KeyCommand, find_program
from batchrun.client.keys import CommandKey, key_header
from batchrun.client.network import build_transport
from batchrun.client.over_pyreqwest import PyreqwestTransport
from batchrun.client.replica_set import EndpointClient, ReplicaSet
from batchrun.client.resources import Resources
from batchrun.client.server import Server
from batchrun.client.timeouts import Timeouts
from batchrun.client.transport import Form, Transport

__all__ = [
    "BodyMemory",
    "Client",
    "CommandKey",
    "EndpointClient",
    "Form",
    "KeyCommand",
    "PyreqwestTransport",
    "ReplicaSet",
    "Resources",
    "Server",
    "Timeouts",
    "Transport",
    "build_transport",
    "find_program",
    "key_header",
]
