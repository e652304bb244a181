"""An OpenAI-compatible endpoint with limits, latency, faults and a ledger; deterministic.

async with serve(SimulatorConfig(seed=1), ledger=path) as running:
    …  # POST {running.base_url}/chat/completions
calls = read_ledger(path)

    config.py, rules.py    what a job may say of it, with limits/rules.py; a new fault begins in rules.py
    server.py, process.py  served in this event loop, or in a process of its own
    connection.py          requests come in
    endpoint.py            each is read, admitted, answered, delivered, and entered into ledger.py
    reading/               a request, or why OpenAI would refuse it
    limits/                how much is taken, and the headers that tell of it
    making/                words and values, drawn by a hash of what they are for
    replying/              a completion, whole or as a stream
    faults.py, delivery.py what goes wrong with an answer, and on its way
    batches/, stored.py    the other addresses: files and batches, stored completions
"""

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.ledger import Call, read_ledger
from batchrun.simulator.process import start_process
from batchrun.simulator.server import Running, place, run, serve

__all__ = [
    "Call",
    "Running",
    "SimulatorConfig",
    "place",
    "read_ledger",
    "run",
    "serve",
    "start_process",
]
