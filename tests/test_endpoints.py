"""The endpoints of a job, opened: which of the values they send are secrets."""

from __future__ import annotations

import json
from pathlib import Path

import anyio

from batchrun.endpoints import open_clients
from batchrun.job import load_job
from tests.client.servers import Peer, answer, replied, serving

ENV = {"MY_KEY": "key-1234567890", "TEAM_TOKEN": "token-0987654321"}


async def quoting(peer: Peer) -> None:
    """A server that answers with the request's own head."""
    await peer.send(answer((await peer.request()).partition(b"\r\n\r\n")[0], status="401 Unauthorized"))


def test_what_a_job_takes_from_variables_is_hidden_in_answers(tmp_path: Path) -> None:
    """The key and such headers are; a header that stands in the job file is no secret."""

    async def main() -> None:
        async with serving(quoting) as server:
            headers = {"X-Team": "Token ${TEAM_TOKEN}", "X-Title": "written down"}
            endpoint = {"base_url": server.url, "api_key_env": "MY_KEY", "headers": headers}
            document = {
                "input": {"path": "rows.jsonl"},
                "prompt": {"messages": [{"role": "user", "content": "hi"}]},
                "model": "local/small",
                "endpoints": {"local": endpoint},
            }
            path = tmp_path / "job.yaml"
            path.write_text(json.dumps(document))
            job = load_job(path, env=ENV, cwd=tmp_path)
            async with open_clients(job, ENV) as clients:
                body = replied(await clients["local"].call(b"{}")).body
        assert not [value for value in ENV.values() if value.encode() in body]
        assert b"written down" in body

    anyio.run(main)
