"""One HTTP attempt at a chat completion, and what became of it as a value.

    endpoint.py    `Client`: one attempt at one endpoint; `Reply` or `Unanswered`, never an exception
    streamed.py    `StreamedAnswer`: an event stream read to the document it stands for
    transport.py   `PyreqwestTransport`: httpx's transport interface on pyreqwest's own API
    network.py     `build_transport`: timeouts, proxies and trusted certificates

The seam is `httpx.AsyncBaseTransport`: any other transport of httpx's fits under `Client`.
"""

from __future__ import annotations

from batchrun.client.endpoint import Client
from batchrun.client.network import Timeouts, build_transport
from batchrun.client.transport import PyreqwestTransport

__all__ = ["Client", "PyreqwestTransport", "Timeouts", "build_transport"]
