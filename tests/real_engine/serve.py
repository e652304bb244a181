"""llama.cpp's server in a process of its own: `python -m tests.real_engine.serve MODEL KEY`.

Writes its address as the first line of stdout, and serves until stdin closes.
"""

from __future__ import annotations

import sys

import xllamacpp

from tests.real_engine import CONTEXT

SLOTS = 16


def serve(model: str, key: str) -> None:
    """Serve `model` on a free loopback port, for who has `key`."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT
    params.cache_prompt = False  # a cached prefix is computed in other batches, which rounds differently
    params.cpuparams.n_threads = 1
    params.n_gpu_layers = 0
    params.fit_params = False
    params.warmup = False
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    del server


if __name__ == "__main__":
    serve(*sys.argv[1:])
