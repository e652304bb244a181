"""A right job: every key arrives where the run reads it, with presets and paths resolved."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from batchrun.chat.request.message_models import SystemMessage, UserMessage
from batchrun.errors import JobError
from batchrun.job import ANY_MODEL, PRESETS, SIMULATOR, Job, MessageFile, load_job
from batchrun.limits import Limits
from tests.job.jobs import FULL, MINIMAL, load


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The job with every key, in a folder called jobs."""
    return load(tmp_path_factory.mktemp("full"), FULL, file="jobs/full.yaml")


def test_input_is_read_as_written(full: Job) -> None:
    """The input's path stays as the job spells it, so that messages can name files as the user does."""
    assert full.input.path == "../sample_data/tickets.jsonl"
    assert (full.input.format, full.input.id, full.input.types) == (
        "jsonl",
        "ticket_id",
        {"stars": "float64"},
    )
    assert full.input.where == "lang = 'en' AND stars < 3"
    assert full.input.limit is None
    assert full.input.sample is not None
    assert (full.input.sample.rows, full.input.sample.seed) == (2000, 1)


def test_prompts_are_left_alone(full: Job) -> None:
    """Templates keep what looks like a variable; message files are named and not read."""
    assert full.prompt.vars == {"tone": "formal"}
    assert full.prompt.messages[:3] == (
        SystemMessage(role="system", content="{% include 'prompts/rules.md' %}"),
        MessageFile(file="prompts/shots.yaml"),
        UserMessage(role="user", content="{{ subject }} in ${HOME}\n\n{{ body }}\n"),
    )
    assert [message.plain() for message in full.prompt.messages[3:]] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "{{ subject }}"},
                {"type": "refusal", "refusal": "not now"},
            ],
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
            ],
            "prefix": True,
        },
        {"role": "tool", "content": "found", "tool_call_id": "call_1"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "{{ body }}"},
                {"type": "image_url", "image_url": {"url": "{{ photo }}", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "{{ sound }}", "format": "wav"}},
            ],
        },
    ]
    assert [turn.plain() for turn in full.prompt.turns] == [{"role": "user", "content": "Why {{ answer }}?"}]


def test_schema_and_functions_are_named_not_read(full: Job) -> None:
    """Their paths stay as the job spells them, from its folder; the media's folder is absolute."""
    assert full.answer_schema == "schemas/ticket.json"
    assert full.run_tools is not None
    assert (full.run_tools.module, full.run_tools.functions, full.run_tools.max_turns) == (
        "tools.py",
        ("look_up",),
        3,
    )
    assert full.media_root == full.folder / "media"


def test_each_model_has_its_own_request(full: Job) -> None:
    """A fallback's parameters lie over the job's, and null leaves one out."""
    first, second, third = full.models
    assert (first.qualified_name, first.endpoint, first.name) == (
        "openai/gpt-4.1-mini",
        "openai",
        "gpt-4.1-mini",
    )
    assert (second.endpoint, second.name) == ("lunos", "openai/gpt-4.1-mini")
    assert first.parameters == yaml.safe_load(FULL)["request"]
    assert type(first.parameters["temperature"]) is int
    assert first.parameters == third.parameters
    left = {
        name: value for name, value in first.parameters.items() if name not in ("logprobs", "top_logprobs")
    }
    assert second.parameters == left | {"stream": "{{ live }}"}
    assert first.removed == frozenset()
    assert second.removed == {"logprobs", "top_logprobs"}
    assert second.limits == Limits(concurrency=32)
    assert first.limits == Limits()


def test_endpoints_begin_with_their_preset(full: Job, tmp_path: Path) -> None:
    """What the job says lies over the preset; another name can take one by `preset`."""
    openai, lunos, flaky = (full.endpoints[name] for name in ("openai", "lunos", "flaky"))
    assert (openai.base_url, openai.api_key_env) == ("https://api.openai.com/v1", "OPENAI_API_KEY")
    assert openai.limits == Limits(rpm=5000, tpm=2000000, concurrency=16)
    assert (lunos.base_url, lunos.api_key_env) == ("https://api.lunos.tech/v1", "LUNOS_API_KEY")
    assert (lunos.headers, lunos.proxy) == ({"X-App-ID": "ticket-triage"}, "http://proxy.example:8080")
    assert lunos.limits == Limits(concurrency="auto")
    assert (lunos.token_limit, lunos.instructions) == ("max_completion_tokens", None)
    assert lunos.ca_file == full.folder.parent / "certs/ca.pem"
    assert (flaky.base_url, flaky.api_key_env) == (None, None)
    assert flaky.limits == Limits(concurrency="auto")
    assert flaky.simulator == {"seed": 3, "faults": [{"rate": 0.1, "status": 500}]}


def test_durations_and_shares_are_numbers(full: Job) -> None:
    """Seconds and fractions, however the job spells them."""
    assert (full.retry.max_attempts, full.retry.max_wait, full.retry.reask) == (8, 120.0, 1)
    assert (full.retry.backoff.initial, full.retry.backoff.max) == (0.5, 60.0)
    timeout = full.retry.timeout
    assert (timeout.connect, timeout.idle, timeout.total, timeout.row) == (10.0, 120.0, 600.0, 5400.0)
    assert (full.stop_when.failed, full.stop_when.after) == (0.4, 20)


def test_output_is_read(full: Job) -> None:
    """The run folder is absolute; a yes where a boolean is expected is one."""
    assert full.output_path == full.folder.parent / "runs/ticket-triage"
    assert full.output.columns == ("ticket_id", "subject")
    assert (full.output.messages, full.output.raw) == (False, True)


def test_a_value_can_be_found_in_the_file(full: Job) -> None:
    """`where` gives file, line and key, of the nearest line for what is not in the file."""
    lines = FULL.splitlines()
    rate = next(number for number, line in enumerate(lines, start=1) if "flaky: {" in line)
    assert full.where("endpoints", "flaky", "simulator", "faults", 0, "rate") == (
        f"jobs/full.yaml:{rate}: endpoints.flaky.simulator.faults.0.rate"
    )
    assert full.where("input", "limit") == "jobs/full.yaml:3: input.limit"


def test_a_short_job_has_the_documented_defaults(tmp_path: Path) -> None:
    """What a job leaves out has the value that the documentation gives."""
    job = load(tmp_path, MINIMAL)
    assert (job.name, job.path, job.folder) == ("job", tmp_path / "job.yaml", tmp_path)
    assert job.models[0].parameters == {}
    assert job.endpoints.keys() == {"simulator"}
    assert job.fail_on == {"invalid_output", "refusal", "content_filter"}
    assert (job.answer_schema, job.run_tools, job.media_root, job.retry.reask) == (None, None, None, 2)
    assert job.fallback_on == {
        *(
            "rate_limit",
            "server",
            "connection",
            "timeout",
            "quota",
            "auth",
            "model_not_found",
            "context_length",
        )
    }
    assert (job.retry.max_attempts, job.retry.max_wait) == (8, 120.0)
    assert (job.retry.backoff.initial, job.retry.backoff.max) == (0.5, 60.0)
    timeout = job.retry.timeout
    assert (timeout.connect, timeout.idle, timeout.total, timeout.row) == (10.0, 120.0, 600.0, 3600.0)
    assert (job.stop_when.failed, job.stop_when.after) == (0.5, 20)
    assert (job.output.columns, job.output.messages, job.output.raw) == ("all", False, False)


@pytest.mark.parametrize(
    ("file", "added", "name", "sets", "expected"),
    [
        ("x.yaml", "", None, [], "runs/x"),
        ("jobs/x.yaml", "", None, [], "runs/x"),
        ("work/x.yaml", "", None, [], "work/runs/x"),
        ("jobs/x.yaml", "name: y", None, [], "runs/y"),
        ("jobs/x.yaml", "name: y", "z", [], "runs/z"),
        ("jobs/x.yaml", "output: {path: ../out/a}", None, [], "out/a"),
        ("jobs/x.yaml", "output: {path: ../out/a}", "z", [], "out/z"),
        ("jobs/x.yaml", "output: {path: ../out/a}", None, ["output.path=b"], "b"),
        ("jobs/x.yaml", "output: {path: ../out/a}", None, ["output={path: b}"], "b"),
        ("jobs/x.yaml", "output: {path: ../out/a}", "z", ["output.path=b"], "b"),
        ("jobs/x.yaml", "output: {path: '${OUT}/a'}", None, [], "elsewhere/a"),
        ("jobs/x.yaml", "", None, ["output.path=${REL}/a"], "some/a"),
        ("jobs/x.yaml", "output: {path: ~/a}", None, [], "home/a"),
        ("jobs/x.yaml", "", None, ["name=s"], "runs/s"),
    ],
)
def test_the_run_folder_follows_name_and_path(
    tmp_path: Path, file: str, added: str, name: str | None, sets: list[str], expected: str
) -> None:
    """Paths of the file start at its folder, those of the shell at the shell's; --name moves the folder."""
    env = {"OUT": str(tmp_path / "elsewhere"), "REL": "some", "HOME": str(tmp_path / "home")}
    job = load(tmp_path, f"{MINIMAL}{added}\n", file=file, name=name, sets=sets, env=env)
    assert job.output_path == tmp_path / expected


def test_a_job_is_found_through_a_linked_folder(tmp_path: Path) -> None:
    """`..` in a path leads out of the folder that really holds the file."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real/jobs")
    load(tmp_path / "real", MINIMAL, file="jobs/job.yaml")
    job = load(tmp_path, MINIMAL, file="link/job.yaml")
    assert job.output_path == tmp_path / "real/runs/job"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_used_by_name_alone(tmp_path: Path, name: str) -> None:
    """A preset needs no entry: `model: NAME/MODEL` is enough, but for an address of one's own."""
    text, preset = MINIMAL.replace("simulator/small", f"{name}/a/b"), PRESETS[name]
    if preset.base_url is None and name != SIMULATOR:
        with pytest.raises(JobError, match=f"endpoints.{name}: needs a base_url"):
            load(tmp_path, text)
        text += f"endpoints: {{{name}: {{base_url: https://mine.example/v1}}}}\n"
    job = load(tmp_path, text)
    endpoint = job.endpoints[name]
    assert endpoint.base_url == (
        preset.base_url or (None if name == SIMULATOR else "https://mine.example/v1")
    )
    for key in ("api_key_env", "api_key_header", "token_limit", "instructions", "any_schema"):
        assert getattr(endpoint, key) == getattr(preset, key)
    assert endpoint.limits.concurrency == "auto"
    assert job.models[0].name == "a/b"


def test_openai_base_url_moves_the_preset_only(tmp_path: Path) -> None:
    """OPENAI_BASE_URL replaces what the preset knows, and gives way to what the job says."""
    text = MINIMAL.replace("simulator/small", "openai/x")
    env = {"OPENAI_BASE_URL": "https://proxy.example/v1/"}
    assert load(tmp_path, text, env=env).endpoints["openai"].base_url == "https://proxy.example/v1"
    renamed = text.replace("openai/x", "other/x") + "endpoints: {other: {preset: openai}}\n"
    assert load(tmp_path, renamed, env=env).endpoints["other"].base_url == "https://proxy.example/v1"
    said = f"{text}endpoints: {{openai: {{base_url: https://said.example/v1}}}}\n"
    assert load(tmp_path, said, env=env).endpoints["openai"].base_url == "https://said.example/v1"


def test_an_endpoint_of_ones_own_needs_only_a_url(tmp_path: Path) -> None:
    """Without a preset no key is sent unless the job names its variable."""
    text = (
        MINIMAL.replace("simulator/small", "mine/m") + "endpoints: {mine: {base_url: http://gpu7:8000/v1}}\n"
    )
    endpoint = load(tmp_path, text).endpoints["mine"]
    assert endpoint.api_key_env is None
    assert endpoint.limits == Limits(concurrency="auto")


def test_replicas_are_one_endpoint(tmp_path: Path) -> None:
    """A list of URLs, each without a slash at its end; variables may stand in them."""
    text = MINIMAL.replace("simulator/small", "mine/m")
    text += "endpoints: {mine: {base_url: ['http://localhost:1/v1/', 'http://localhost:${PORT}/v1']}}\n"
    endpoint = load(tmp_path, text, env={"PORT": "2"}).endpoints["mine"]
    assert endpoint.base_urls == ("http://localhost:1/v1", "http://localhost:2/v1")
    assert endpoint.base_url == "http://localhost:1/v1, http://localhost:2/v1"


@pytest.mark.parametrize(
    ("spelled", "words"),
    [
        ("gcloud auth print-access-token", ("gcloud", "auth", "print-access-token")),
        ("get-key --team 'a b' # | c", None),
        ("get-key --team 'a | b' --url a?b=1", ("get-key", "--team", "a | b", "--url", "a?b=1")),
        ("[sh, -c, 'get-key | head -1']", ("sh", "-c", "get-key | head -1")),
        ("get-key ${TEAM}", ("get-key", "red", "team")),
    ],
)
def test_a_key_command_is_split_as_a_shell_would(
    tmp_path: Path, spelled: str, words: tuple[str, ...] | None
) -> None:
    """It takes the place of the preset's variable; a list is taken as it is."""
    written = spelled if spelled.startswith("[") else f'"{spelled}"'
    text = MINIMAL.replace("simulator/small", "openai/x")
    text += f"endpoints: {{openai: {{api_key_cmd: {written}}}}}\n"
    if words is None:
        with pytest.raises(JobError, match="without a shell"):
            load(tmp_path, text)
        return
    endpoint = load(tmp_path, text, env={"TEAM": "red team"}).endpoints["openai"]
    assert (endpoint.api_key_env, endpoint.api_key_cmd) == (None, words)


def test_what_may_hold_a_secret_is_not_shown(tmp_path: Path) -> None:
    """Headers and proxies, which variables may fill, stay out of what a traceback or a log would print."""
    text = f"{MINIMAL}endpoints: {{vllm: {{headers: {{X-A: '${{A}}'}}, proxy: 'http://u:${{P}}@proxy:1'}}}}\n"
    job = load(tmp_path, text, env={"A": "hidden-a", "P": "hidden-p"})
    assert job.endpoints["vllm"].headers == {"X-A": "hidden-a"}
    assert job.endpoints["vllm"].proxy == "http://u:hidden-p@proxy:1"
    assert "hidden" not in repr(job)
    assert "hidden" not in str(job.document)


def test_the_kept_document_is_what_was_submitted(tmp_path: Path) -> None:
    """`document` has the shell's options in it and the variables unexpanded, and loads again."""
    text = f"{MINIMAL}request: {{user: '${{WHO}}'}}\n"
    job = load(tmp_path, text, env={"WHO": "me"}, sets=["request.seed=7"], model="vllm/b", name="again")
    assert job.document == {
        "input": {"path": "rows.jsonl"},
        "prompt": {"messages": [{"role": "user", "content": "{{ text }}"}]},
        "model": "vllm/b",
        "request": {"user": "${WHO}", "seed": 7},
        "name": "again",
    }
    assert job.models[0].parameters == {"user": "me", "seed": 7}


def test_model_replaces_only_the_model(tmp_path: Path) -> None:
    """--model puts another model first and leaves fallbacks and parameters as they are."""
    job = load(tmp_path, FULL, model="vllm/Qwen/Qwen3-32B")
    assert [model.qualified_name for model in job.models] == [
        "vllm/Qwen/Qwen3-32B",
        "lunos/openai/gpt-4.1-mini",
        "flaky/any",
    ]
    assert job.models[0].parameters["temperature"] == 0
    with pytest.raises(
        JobError, match=r"--model vlm/x: model: there is no endpoint vlm\. Did you mean vllm\?"
    ):
        load(tmp_path, FULL, model="vlm/x")


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    """A mapping can be shared; keys beside `<<` win over it; each use is a copy."""
    text = f"""{MINIMAL}fallbacks:
  - {{model: vllm/a, limits: &few {{rpm: 5, concurrency: 2}}}}
  - {{model: vllm/b, limits: {{concurrency: 4, <<: *few}}}}
"""
    job = load(tmp_path, text, sets=["fallbacks.0.limits.rpm=6"])
    assert [model.limits for model in job.models[1:]] == [Limits(6, None, 2), Limits(5, None, 4)]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("12:30", "12:30"),
        ("1:30.5", "1:30.5"),
        ("2026-01-31", "2026-01-31"),
        ("08", "08"),
        ("~", None),
        ("TRUE", True),
        ("'yes'", "yes"),
        ("'017'", "017"),
        ('"{{ n }}"', "{{ n }}"),
        ("9007199254740993", 9007199254740993),
        ("{50256: -100, on: 1}", {"50256": -100, "on": 1}),
    ],
)
def test_values_are_read_as_they_look(tmp_path: Path, written: str, value: object) -> None:
    """YAML 1.1's surprises are gone: no base 60, no dates, keys are text, exponents are numbers."""
    job = load(tmp_path, MINIMAL.replace("prompt:\n", f"prompt:\n  vars: {{v: {written}}}\n"))
    assert job.prompt.vars == {"v": value}
    assert type(job.prompt.vars["v"]) is type(value)


def test_a_file_of_another_editor_is_read(tmp_path: Path) -> None:
    """A byte order mark and CRLF line ends change nothing."""
    (tmp_path / "dos.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_job(Path("dos.yaml"), env={}, cwd=tmp_path).input.path == "rows.jsonl"


BATCH = """\
input: {path: rows.jsonl, format: openai-batch}
model: openai/*
"""


def test_whole_requests_need_no_prompt(tmp_path: Path) -> None:
    """An openai-batch row names its model, and null in `request` is taken out of it."""
    job = load(tmp_path, f"{BATCH}request: {{user: null, top_logprobs: 2}}\n")
    assert (job.models[0].name, job.models[0].qualified_name) == (ANY_MODEL, "openai/*")
    assert job.models[0].parameters == {"top_logprobs": 2}
    assert job.models[0].removed == {"user"}
    assert (job.prompt.messages, job.prompt.turns, job.prompt.messages_column) == ((), (), None)
    assert load(tmp_path, f"{BATCH}prompt: {{vars: {{a: 1}}}}\n").prompt.vars == {"a": 1}


def test_a_column_can_hold_the_messages(tmp_path: Path) -> None:
    """In place of messages; turns may follow."""
    text = "input: {path: r.jsonl}\nprompt: {messages_column: m, turns: [{content: x}]}\nmodel: vllm/a\n"
    job = load(tmp_path, text)
    assert (job.prompt.messages_column, job.prompt.messages) == ("m", ())
    assert [turn.plain() for turn in job.prompt.turns] == [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("schemas/t.json", "schemas/t.json"),
        ("~/t.json", "/home/ann/t.json"),
        ("pack.models:Ticket", "pack.models:Ticket"),
        ("{type: object}", {"type": "object"}),
    ],
)
def test_a_schema_is_a_file_a_class_or_itself(tmp_path: Path, given: str, found: object) -> None:
    """As the job spells it, from its folder."""
    job = load(tmp_path, f"{MINIMAL}schema: {given}\n", env={"HOME": "/home/ann"})
    assert job.answer_schema == found


def test_paths_from_the_shell_start_there(tmp_path: Path) -> None:
    """A schema's, a module's and the media's too; a class is no path."""
    sets = ["schema=t.json", "run_tools={module: f.py, functions: [g]}", "input.media_root=m"]
    job = load(tmp_path, MINIMAL, file="jobs/x.yaml", sets=sets)
    assert job.answer_schema == str(tmp_path / "t.json")
    assert job.run_tools is not None
    assert job.run_tools.module == str(tmp_path / "f.py")
    assert job.media_root == tmp_path / "m"
    assert load(tmp_path, MINIMAL, sets=["schema=pack.models:Ticket"]).answer_schema == "pack.models:Ticket"


def test_more_stops_than_openai_takes_are_another_servers_affair(tmp_path: Path) -> None:
    """vLLM has no limit."""
    text = MINIMAL.replace("simulator/small", "vllm/a") + "request: {stop: [a, b, c, d, e]}\n"
    assert load(tmp_path, text).models[0].parameters == {"stop": ["a", "b", "c", "d", "e"]}
