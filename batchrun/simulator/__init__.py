"""An OpenAI-compatible endpoint with limits, latency, faults and a ledger; deterministic.

async with serve(SimulatorConfig(seed=1), ledger=path) as running:
    …  # POST {running.base_url}/chat/completions
calls = read_ledger(path)
"""

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.ledger import Call, read_ledger
from batchrun.simulator.process import start_process
from batchrun.simulator.server import Running, run, serve

__all__ = [
    "Call",
    "Running",
    "SimulatorConfig",
    "read_ledger",
    "run",
    "serve",
    "start_process",
]
