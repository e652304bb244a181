"""The endpoints of a job, opened: where keys come from, and which of the values they send are secrets."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import anyio
import pytest

from batchrun.endpoints.checks import check_keys
from batchrun.endpoints.endpoints import open_endpoints
from batchrun.errors import UsageError
from batchrun.job import PRESETS, SIMULATOR, Job, load_job
from tests.client.servers import Peer, answer, replied, serving
from tests.runs import simulated

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
            async with open_endpoints(job, ENV) as endpoints:
                body = replied(await endpoints.clients["local"].call(b"{}")).body
        assert not [value for value in ENV.values() if value.encode() in body]
        assert b"written down" in body

    anyio.run(main)


@pytest.mark.parametrize("given", [{"api_key_env": "MY_KEY"}, {"api_key_cmd": ["cat", "token"]}])
@pytest.mark.parametrize("header", [None, "authorization", "API-Key"])
@pytest.mark.parametrize("preset", [None, *(name for name in PRESETS if name != SIMULATOR)])
def test_a_key_travels_in_one_header_and_is_hidden_in_answers(
    tmp_path: Path, preset: str | None, header: str | None, given: dict[str, object]
) -> None:
    """The job's header, else the preset's, else authorization; in that alone it is a bearer token."""
    key, heads = ENV["MY_KEY"], []
    (tmp_path / "token").write_text(key)

    async def noting(peer: Peer) -> None:
        head = (await peer.request()).partition(b"\r\n\r\n")[0]
        heads.append(head.decode().lower().split("\r\n"))
        await peer.send(answer(head, status="401 Unauthorized", headers=f"x-said: {key}\r\n"))

    async def main() -> None:
        async with serving(noting) as server:
            endpoint = {"base_url": server.url, **given}
            endpoint |= {"preset": preset} if preset else {}
            endpoint |= {"api_key_header": header} if header else {}
            document = {
                "input": {"path": "rows.jsonl"},
                "prompt": {"messages": [{"role": "user", "content": "hi"}]},
                "model": "mine/small",
                "endpoints": {"mine": endpoint},
            }
            (tmp_path / "job.yaml").write_text(json.dumps(document))
            job = load_job(tmp_path / "job.yaml", env=ENV, cwd=tmp_path)
            async with open_endpoints(job, ENV) as endpoints:
                reply = replied(await endpoints.clients["mine"].call(b"{}"))
        assert key not in f"{reply.body!r} {reply.headers}"

    anyio.run(main)
    name = (header or (PRESETS[preset].api_key_header if preset else "authorization")).lower()
    carried = f"{name}: bearer {key}" if name == "authorization" else f"{name}: {key}"
    assert [line for line in heads[0] if key in line] == [carried]


KEYS = ["canary-key-1", "canary-key-2", "canary-key-3"]

NEXT_KEY = """\
import pathlib
runs = pathlib.Path("runs.txt")
with runs.open("a") as file:
    file.write("x")
print(f"canary-key-{len(runs.read_text())}")
"""


def with_command(folder: Path, command: list[str], **endpoint: object) -> Job:
    """A job whose only endpoint has its key from `command`."""
    document = {
        "input": {"path": "rows.jsonl"},
        "prompt": {"messages": [{"role": "user", "content": "hi"}]},
        "model": "corp/small",
        "endpoints": {"corp": {"base_url": "http://localhost:1/v1", "api_key_cmd": command, **endpoint}},
    }
    (folder / "job.yaml").write_text(json.dumps(document))
    return load_job(folder / "job.yaml", env={}, cwd=folder)


def test_a_run_outlives_its_keys_and_writes_none_of_them(tmp_path: Path) -> None:
    """The server changes its key twice: the command runs three times, and each 401 is one call more."""
    (tmp_path / "next_key.py").write_text(NEXT_KEY)
    config = {
        "api_keys": [{"key": KEYS[0], "calls": 20}, {"key": KEYS[1], "calls": 30}, {"key": KEYS[2]}],
        "latency": {"kind": "constant", "seconds": 0.02},
    }
    endpoint = {"api_key_cmd": f"{sys.executable} next_key.py", "limits": {"concurrency": 8}}
    with simulated(tmp_path, rows=100, config=config, endpoints={"local": endpoint}) as job:
        summary = job.submit_here()
        assert (summary.ok, summary.spent["requests"]) == (100, len(job.calls()))
        taken = Counter(call.api_key_ok for call in job.calls())
        assert sum(len(attempts) for attempts in job.results()["attempts"]) == taken.total()
        assert (tmp_path / "runs.txt").read_text() == "xxx"
        assert taken[True] == 100
        assert 2 <= taken[False] <= 16
        files = [path for path in job.run.rglob("*") if path.is_file()]
        assert not [path for path in files if b"canary-key" in path.read_bytes()]


def test_new_keys_that_are_refused_too_close_the_endpoint(tmp_path: Path) -> None:
    """The command gives another key each time: a row tries one of them, not all that will ever come."""
    (tmp_path / "next_key.py").write_text(NEXT_KEY)
    config = {"api_keys": [{"key": "none-of-the-commands"}]}
    endpoint = {"api_key_cmd": f"{sys.executable} next_key.py", "limits": {"concurrency": 1}}
    retry = {"timeout": {"row": 10}}
    with simulated(tmp_path, rows=3, config=config, endpoints={"local": endpoint}, retry=retry) as job:
        assert job.submit_here().exit_code == 4
        assert len(job.calls()) <= 2 * 3


def test_renewals_are_within_a_cap_on_requests(tmp_path: Path) -> None:
    """Calls that are refused for their key count: the ledger never has more than the cap."""
    (tmp_path / "next_key.py").write_text(NEXT_KEY)
    config = {"api_keys": [{"key": KEYS[0], "calls": 15}, {"key": KEYS[1]}]}
    endpoint = {"api_key_cmd": f"{sys.executable} next_key.py", "limits": {"concurrency": 8}}
    endpoints = {"local": endpoint}
    with simulated(tmp_path, rows=60, config=config, endpoints=endpoints, budget={"requests": 20}) as job:
        assert job.submit_here().exit_code == 3
        assert len(job.calls()) == 20
        assert any(not call.api_key_ok for call in job.calls())


def test_a_command_that_fails_at_the_start_ends_the_run_before_any_call(tmp_path: Path) -> None:
    """The error names the endpoint, the program, and what it said last."""
    script = "import sys; sys.exit('log in first')"
    job = with_command(tmp_path, [sys.executable, "-c", script])

    async def main() -> None:
        with pytest.raises(UsageError, match=r"endpoint corp, .*: it ended with exit code 1: log in first"):
            async with open_endpoints(job, {}):
                raise AssertionError("no client may be given")

    anyio.run(main)


def test_a_program_that_is_missing_is_found_out_without_running_it(tmp_path: Path) -> None:
    """`plan` and `submit` look for it; an endpoint that no model uses does not matter."""
    ran = tmp_path / "ran"
    check_keys(with_command(tmp_path, [sys.executable, "-c", f"open({str(ran)!r}, 'w')"]), {})
    assert not ran.exists()
    missing = with_command(tmp_path, ["bin/no-such-program"])
    with pytest.raises(UsageError, match=r"corp: there is no program bin/no-such") as caught:
        check_keys(missing, {})
    assert "no shell: for ~, $NAME or NAME=value write [sh, -c," in str(caught.value.hint)


@pytest.mark.parametrize(
    ("proxy", "base_url", "refused"),
    [
        ("http://proxy.example:3128", "http://localhost:8000/v1", True),
        ("https://proxy.example:3128", "http://localhost:8000/v1", True),
        ("http://proxy.example:3128", "https://localhost:8000/v1", False),
        ("http://127.0.0.1:3128", "http://localhost:8000/v1", False),
    ],
)
def test_no_proxy_is_sent_a_key_unencrypted(tmp_path: Path, proxy: str, base_url: str, refused: bool) -> None:
    """A key may go to this machine in clear; but a proxy on another one would carry it there and back."""
    job = with_command(tmp_path, [sys.executable, "-c", "pass"], proxy=proxy, base_url=base_url)
    if not refused:
        check_keys(job, {})
        return
    with pytest.raises(UsageError, match="endpoint corp: its proxy would see the key"):
        check_keys(job, {})
