"""Wrong jobs: each message gives the line, the key, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from batchrun.errors import JobError
from batchrun.job import load_job
from batchrun.job.sections.file import FallbackReason
from batchrun.outcome import ERROR_TYPES, NEVER_SENT
from tests.instructions import tells_what_to_do
from tests.job.jobs import MINIMAL, load

OPENAI = MINIMAL.replace("simulator/small", "openai/gpt-4.1-mini")

# (what is added below MINIMAL, the line that is wrong, what the message holds)
ADDED = [
    ("temprature: 0", 6, ["temprature is not a known key", "Known here: name, input"]),
    ("temperature: 0", 6, ["temperature is not a known key", "The key for that is request.temperature."]),
    ("concurency: 3", 6, ["concurency is not a known key"]),
    ("concurrency: 3", 6, ["The key for that is model.limits.concurrency"]),
    ("outptu: {path: x}", 6, ["outptu is not a known key. Did you mean output?"]),
    ("schema: 3", 6, ["schema: must be text; found 3"]),
    ("schema: {enum: [yes, no]}", 6, ["schema.enum.0: yes without quotes is true in YAML"]),
    ("answer_schema: s.json", 6, ["answer_schema is not a known key"]),
    (
        "schema: s.json\nrequest: {response_format: {type: text}}",
        7,
        ["request.response_format: excludes the job's schema, which sets it"],
    ),
    ("run_tools: {functions: [f]}", 6, ["run_tools.module is required and missing. A Python file"]),
    ("run_tools: {module: t.py}", 6, ["run_tools.functions is required and missing"]),
    (
        "run_tools: {module: t.py, functions: []}",
        6,
        ["run_tools.functions: must have at least one item"],
    ),
    ("run_tools: {module: t.py, functions: [f], max_turns: 0}", 6, ["max_turns: must be at least 1"]),
    (
        "run_tools: {module: t.py, functions: [f]}\nrequest: {n: 2}",
        7,
        ["request.n: must be 1 beside run_tools"],
    ),
    (
        "run_tools: {module: t.py, functions: [f]}\nrequest:\n  functions: [{name: g}]",
        8,
        ["request.functions: exclude run_tools"],
    ),
    (
        "run_tools: {module: t.py, functions: [f]}\nrequest:\n"
        "  tool_choice: {type: function, function: {name: g}}",
        8,
        ["request.tool_choice: names the function tool 'g', which tools do not hold: name one of f"],
    ),
    ("budget: {cost: 20}", 6, ["budget.cost is not a known key. Did you mean cost_usd?"]),
    ("checks: {failed: 1}", 6, ["checks.failed: must be a comparison", "found 1."]),
    ("request:\n  temprature: 0", 7, ["request.temprature is not a known key. Did you mean temperature?"]),
    ("request: {Temperature: 0}", 6, ["request.Temperature is not a known key. Did you mean temperature?"]),
    ("request: {model: x}", 6, ["request.model is not taken here", "own key `model`"]),
    ("request: {messages: []}", 6, ["request.messages is not taken here", "prompt.messages"]),
    ("request:\n  extra_body:\n    model: x", 8, ["request.extra_body.model must not be given"]),
    (
        "request: {extra_body: {top_k: 6}}",
        6,
        ["request.extra_body.top_k has a key of its own: write request.top_k"],
    ),
    ("request: {temperature: 2.5}", 6, ["request.temperature: must be at most 2; found 2.5"]),
    ("request: {temperature: hot}", 6, ['request.temperature: must be a number; found "hot"']),
    ("request: {n: 1.5}", 6, ["request.n: must be a whole number; found 1.5"]),
    ("request: {top_logprobs: 5}", 6, ["request.top_logprobs: needs logprobs: true."]),
    (
        "request: {max_tokens: 5, max_completion_tokens: 6}",
        6,
        ["request.max_tokens: is the older name of max_completion_tokens"],
    ),
    (
        "request: {verbosity: hih}",
        6,
        ["request.verbosity: must be one of low, medium, high", "Did you mean high?"],
    ),
    (
        "request:\n  tools:\n  - type: funtion\n    function: {name: f}",
        8,
        ["request.tools.0.type: must be one of function, custom, web_search", "Did you mean function?"],
    ),
    (
        "request:\n  tools:\n  - function: {name: f}",
        8,
        ["request.tools.0.type is required and missing. It is one of function, custom"],
    ),
    (
        "request:\n  tools:\n  - type: function\n    function:\n      nmae: f",
        10,
        ["request.tools.0.function.nmae is not a known key. Did you mean name?"],
    ),
    (
        "request:\n  response_format:\n    type: json_schema\n    json_schema:\n      nam: x",
        10,
        ["request.response_format.json_schema.nam is not a known key. Did you mean name?"],
    ),
    (
        "request:\n  response_format: {type: json_schema, json_schema: {name: a b}}",
        7,
        ["json_schema.name: must be made of letters, digits, underscores and dashes, at most 64"],
    ),
    (
        "request:\n  tools:\n  - type: function\n    function:\n      name: f\n      parameters:\n"
        "        properties:\n          a: {type: objct}",
        13,
        ["request.tools.0.function.parameters.properties.a.type: 'objct' is no type; the types are object"],
    ),
    (
        "request:\n  tools:\n  - {type: web_search}\n  - type: function\n    function:\n      name: f\n"
        "      parameters: {required: a}",
        12,
        ['request.tools.1.function.parameters.required: a is not of type "array": correct the schema.'],
    ),
    (
        "request:\n  functions:\n  - name: f\n    parameters: {$ref: '#/$defs/A'}",
        9,
        ["request.functions.0.parameters.$ref: '#/$defs/A' points to nothing in the schema"],
    ),
    (
        "request:\n  response_format:\n    type: json_schema\n"
        "    json_schema: {name: a, schema: {type: lst}}",
        9,
        ["request.response_format.json_schema.schema.type: 'lst' is no type"],
    ),
    (
        "request:\n  response_format:\n    type: structural_tag\n    triggers: [a]\n    structures:\n"
        "    - {begin: a, end: b, schema: {type: lst}}",
        11,
        ["request.response_format.structures.0.schema.type: 'lst' is no type"],
    ),
    (
        "request: {structured_outputs: {json: {type: lst}}}",
        6,
        ["request.structured_outputs.json.type: 'lst' is no type"],
    ),
    (
        "fallbacks:\n- model: vllm/x\n  request:\n    functions: [{name: f, parameters: {type: lst}}]",
        9,
        ["fallbacks.0.request.functions.0.parameters.type: 'lst' is no type"],
    ),
    (
        f"request:\n  metadata:\n    {'k' * 65}: x",
        8,
        [f"request.metadata.{'k' * 65}: the key must have at most 64 characters; found 65."],
    ),
    (
        f"request:\n  metadata: {{{', '.join(f'k{n}: x' for n in range(17))}}}",
        7,
        ["request.metadata: must have at most 16 items; found 17."],
    ),
    (
        f"request: {{metadata: {{k: {'v' * 513}}}}}",
        6,
        ["request.metadata.k: must have at most 512 characters; found 513."],
    ),
    ("request: {metadata: {'[key]': 3}}", 6, ["request.metadata.[key]: must be text; found 3"]),
    (
        "request: {response_format: {type: grammar}}",
        6,
        ["request.response_format.grammar is required and missing. The grammar."],
    ),
    (
        "request: {tool_choice: {type: function, function: {name: g}}}",
        6,
        ["request.tool_choice: needs tools"],
    ),
    (
        "request: {structured_outputs: {regex: a, choice: [b]}}",
        6,
        ["request.structured_outputs: needs exactly one of choice, grammar"],
    ),
    (
        "fallbacks:\n- model: vllm/x\n  request: {logprobs: null}\n"
        "request: {logprobs: true, top_logprobs: 3}",
        9,
        ["request.top_logprobs: needs logprobs: true (as fallbacks.0 has it)"],
    ),
    (
        "fallbacks:\n- model: vllm/x\n  request: {top_logprobs: 3}",
        8,
        ["fallbacks.0.request.top_logprobs: needs logprobs: true."],
    ),
    (
        "fallbacks: [openai/x]\nrequest: {stop: [a, b, c, d, e]}",
        7,
        ["request.stop: must have at most 4 texts for openai; found 5 (as fallbacks.0 has it)"],
    ),
    ("fallbacks: [openai/*]", 6, ["fallbacks.0: openai/* is the model that a row itself names"]),
    ("endpoints: {vllm: {token_limit: max}}", 6, ["token_limit: must be one of max_tokens, max_comp"]),
    ("endpoints: {vllm: {instructions: user}}", 6, ["instructions: must be one of system, developer"]),
    ("fallback_on: [server, invalid_output]\nfail_on: []", 6, ["fallback_on.1 has no effect while fail_on"]),
    ("request: {stop: no}", 6, ['no without quotes is false in YAML: write false, or "no"']),
    ("request: [temperature]", 6, ["request: must be a mapping; found a list"]),
    ("request:temperature", 6, ["a space is missing after the colon"]),
    ("request:", 6, ["request: must be a mapping; it is empty. Give it a value, or remove the key."]),
    ("fallbacks: [gpt-4]", 6, ["fallbacks.0: must be ENDPOINT/MODEL", 'found "gpt-4"']),
    ("fallbacks:\n  - opnai/gpt", 7, ["fallbacks.0: there is no endpoint opnai. Did you mean openai?"]),
    ("fallbacks:\n- model: opnai/gpt", 7, ["fallbacks.0.model: there is no endpoint opnai"]),
    ("fallbacks:\n- {modle: vllm/x}", 7, ["fallbacks.0.modle is not a known key. Did you mean model?"]),
    ("fallbacks:\n- {limits: {}}", 7, ["fallbacks.0.model is required and missing"]),
    ("fallbacks: vllm/x", 6, ["fallbacks: must be a list"]),
    (
        "fallbacks: [{model: vllm/x, limits: {rpm: 0}}]",
        6,
        ["fallbacks.0.limits.rpm: must be at least 1; found 0"],
    ),
    (
        "fallbacks: [{model: vllm/x, limits: {rpm: auto}}]",
        6,
        ["limits.rpm: must be a whole number", '"auto"'],
    ),
    (
        "fallbacks: [{model: vllm/x, request: {stpo: a}}]",
        6,
        ["request.stpo is not a known key. Did you mean stop?"],
    ),
    ("fallback_on: [ratelimit]", 6, ["fallback_on.0: must be one of", "Did you mean rate_limit?"]),
    ("fallback_on: [bad_row]", 6, ["fallback_on.0: must be one of", 'found "bad_row"']),
    ("fallback_on: [render]", 6, ["fallback_on.0: must be one of"]),
    ("fallback_on: [cancelled]", 6, ["fallback_on.0: must be one of"]),
    ("fallback_on: [server, refusal]\nfail_on: []", 6, ["fallback_on.1 has no effect while fail_on"]),
    (
        "fail_on:\n  - refusal\n  - timeout",
        8,
        ["fail_on.1: must be one of invalid_output, refusal, content_filter, truncated"],
    ),
    (
        "endpoints: {opnai: {limits: {rpm: 3}}}",
        6,
        ["endpoints.opnai: needs a base_url", "Did you mean openai?"],
    ),
    ("endpoints: {mine: {preset: vlm}}", 6, ["endpoints.mine.preset: must be one of", "Did you mean vllm?"]),
    (
        "endpoints: {vllm: {api_key_header: 'my key'}}",
        6,
        ["endpoints.vllm.api_key_header: must be the NAME of the header that carries the key"],
    ),
    (
        "endpoints: {vllm: {api_key_header: X-Team, headers: {x-team: red}}}",
        6,
        ["endpoints.vllm.headers.x-team: carries the key (api_key_header): leave it out"],
    ),
    ("endpoints:\n  a b: {preset: vllm}", 7, ["endpoints.a b is no name for an endpoint"]),
    ("endpoints: {mine: {base_url: api.example.com/v1}}", 6, ["endpoints.mine.base_url: must be one URL"]),
    ("endpoints: {mine: {base_url: ftp://example.com}}", 6, ["base_url: must be one URL"]),
    ("endpoints: {mine: {base_url: 'https://h:x/v1'}}", 6, ["base_url: must be one URL"]),
    ("endpoints: {mine: {base_url: {a: b}}}", 6, ["base_url: must be text; found a mapping"]),
    ("endpoints: {mine: {base_url: []}}", 6, ["base_url: must have at least one item"]),
    (
        "endpoints:\n  mine:\n    base_url:\n    - https://a\n    - b.example/v1",
        10,
        ["endpoints.mine.base_url.1 must be one URL"],
    ),
    (
        "endpoints:\n  mine:\n    base_url:\n    - https://a/v1\n    - https://A:443/v1/",
        10,
        ["endpoints.mine.base_url.1 is the same replica as number 0"],
    ),
    (
        "endpoints:\n  mine:\n    api_key_env: MINE\n    base_url: [https://a, 'http://b/v1']",
        9,
        ["endpoints.mine.base_url.1 would send the key unencrypted: use https, or api_key_env: null"],
    ),
    (
        "endpoints: {mine: {base_url: 'http://b/v1', api_key_cmd: get-key}}",
        6,
        ["mine.base_url would send the key unencrypted: use https, or without api_key_cmd where none"],
    ),
    (
        "endpoints:\n  openai:\n    api_key_env: MINE\n    api_key_cmd: get-key",
        9,
        ["endpoints.openai.api_key_cmd excludes api_key_env: keep one of the two"],
    ),
    ("endpoints: {openai: {api_key_cmd: ' '}}", 6, ["api_key_cmd: must not be empty"]),
    ("endpoints: {openai: {api_key_cmd: []}}", 6, ["api_key_cmd: must have at least one item"]),
    (
        'endpoints: {openai: {api_key_cmd: "get \'key"}}',
        6,
        ["api_key_cmd: must be a command line whose quotes close"],
    ),
    ("endpoints: {openai: {api_key_cmd: 'get key | head -1'}}", 6, ["is run without a shell", "[sh, -c,"]),
    ("endpoints: {openai: {api_key_cmd: 'get key $USER'}}", 6, ["is run without a shell"]),
    ("endpoints: {openai: {api_key_cmd: ~/bin/get-key}}", 6, ["is run without a shell", "[sh, -c,"]),
    ("endpoints: {openai: {api_key_cmd: cat ~/key}}", 6, ["is run without a shell", "[sh, -c,"]),
    ("endpoints: {openai: {api_key_cmd: TEAM=1 get-key}}", 6, ["is run without a shell", "[sh, -c,"]),
    (
        "endpoints: {vllm: {base_url: 'http://a/v1,http://b/v1'}}",
        6,
        ["vllm.base_url: holds several URLs: write replicas as a list, base_url: [http://…, http://…]"],
    ),
    ("endpoints: {vllm: {base_url: http://a/v1 http://b/v1}}", 6, ["base_url: holds several URLs"]),
    ("endpoints: {vllm: {base_url: ['http://a/v1; http://b/v1']}}", 6, ["base_url.0 holds several URLs"]),
    (
        "endpoints: {mine: {base_url: https://a.b/v1/chat/completions}}",
        6,
        ["must end before /chat/completions"],
    ),
    ("endpoints: {vllm: {simulator: {rpm: 3}}}", 6, ["endpoints.vllm.simulator: is only for the simulator"]),
    (
        "endpoints:\n  simulator:\n    base_url: http://127.0.0.1:1/v1\n    simulator: {rpm: 3}",
        9,
        ["endpoints.simulator.simulator: has no effect on a server that runs already"],
    ),
    ("endpoints: {vllm: {headers: {Host: x}}}", 6, ["headers.Host is set by batchrun"]),
    ("endpoints: {vllm: {headers: {X-N: 3}}}", 6, ["headers.X-N: must be text", "quote it"]),
    ("endpoints: {vllm: {headers: {'X N': a}}}", 6, ["headers.X N is no name for a header"]),
    ('endpoints: {vllm: {headers: {X-N: "a\\r\\nb"}}}', 6, ["headers.X-N must be printable ASCII"]),
    ("endpoints: {vllm: {proxy: socks}}", 6, ["proxy: must be one URL"]),
    ("endpoints: {vllm: }", 6, ["endpoints.vllm: must be a mapping; it is empty"]),
    ("retry: {max_attempts: 0}", 6, ["retry.max_attempts: must be at least 1; found 0"]),
    ("retry: {max_attempts: 2.5}", 6, ["retry.max_attempts: must be a whole number; found 2.5"]),
    ("retry: {max_attempts: true}", 6, ["retry.max_attempts: must be a whole number; found true"]),
    ("retry: {max_wait: soon}", 6, ["retry.max_wait: must be a time", '"soon"']),
    ("retry: {max_wait: -1}", 6, ["retry.max_wait: must be a time", "found -1"]),
    ("retry: {max_wait: .inf}", 6, ["retry.max_wait: .inf is no number that JSON can hold"]),
    ("retry: {timeout: 30}", 6, ["retry.timeout: must be a mapping; found 30"]),
    ("retry: {timeout: {totl: 3}}", 6, ["retry.timeout.totl is not a known key. Did you mean total?"]),
    ("retry: {timeout: {idle: 0}}", 6, ["retry.timeout.idle: must be a time above 0"]),
    ("retry:\n  backoff:\n    initial: 90", 8, ["retry.backoff.initial must not be above max, which is 60"]),
    ("retry: {max_attempts:5}", 6, ["retry.max_attempts:5 is not a known key. Is a space missing"]),
    ("retry: {reask: -1}", 6, ["retry.reask: must be at least 0; found -1"]),
    ("stop_when: {failed: 50}", 6, ['stop_when.failed: must be a percentage like "50%"', "found 50"]),
    ('stop_when: {failed: "150%"}', 6, ["stop_when.failed: must be a percentage"]),
    ("stop_when: {after: 0}", 6, ["stop_when.after: must be at least 1"]),
    ("output: {columns: some}", 6, ["output.columns: must be all, none, or a list of columns", '"some"']),
    ("output: {columns: [a, 3]}", 6, ["output.columns.1: must be text; found 3", 'quote it: "3"']),
    ("output: {raw: 1}", 6, ["output.raw: must be true or false; found 1"]),
    ('output: {raw: "true"}', 6, ["output.raw: must be true or false"]),
    ("output: {pth: x}", 6, ["output.pth is not a known key. Did you mean path?"]),
    ("output: runs/x", 6, ['output: must be a mapping; found "runs/x"']),
    ("name: my job", 6, ["name: must be made of letters", '"my job"']),
    ("name: ..", 6, ["name: must be made of letters"]),
    ("name: no", 6, ["name: must be text; found no, which without quotes is false", 'quote it: "no"']),
    ("name: 017", 6, ["name: 017 is the octal number 15 in YAML"]),
    ("name: x\nname: y", 7, ["name is given twice, first on line 6: keep one"]),
    ("name: ${JOB}", 6, ["name: the variable JOB is not set: export it, or write ${JOB:-default}"]),
    ("name: ${JOB", 6, ["name: a ${ that names no variable"]),
    ("name: !env JOB", 6, ["name: a value that begins with ! is a tag"]),
    ("name: &a x\noutput: &b [*b]", 7, ["aliases (*name) that repeat too much, or contain themselves"]),
    ("output: {columns: {{ cols }}}", 6, ["output.columns: an unquoted {{ … }}"]),
    ("output:\n\traw: true", 7, ["a tab"]),
    ("stop_when: {failed: >= 50%}", 6, ["a value that begins with > or |", "quote it"]),
    ("name: > x y", 6, ["a value that begins with > or |"]),
    ("name: %x", 6, ["a value cannot begin with %, @ or `"]),
    ("name: *.x", 6, ["a value that begins with * is an alias"]),
    ("name: *x", 6, ["a value that begins with * is an alias"]),
    ("name: a: b", 6, ["a value that holds `: ` must be quoted"]),
    ("name: 'x", 6, ["a quote that is opened here is never closed"]),
    ('name: "x" y', 6, ["text goes on after the closing quote"]),
    ('name: "\\d"', 6, ['a backslash inside "…" begins an escape']),
    ("output: {raw: true", 6, ["a { that is opened here is not closed"]),
    ("output:\n  raw: true\n messages: true", 8, ["indented differently"]),
    ("---\nname: x", 6, ["a job file holds one document"]),
    ("name: 😀é\nrequest: {stop: x\x00y}", 7, ["a character that YAML does not allow, U+0000"]),
    ("output: " + "[" * 60 + "]" * 60, 6, ["nested more than 40 levels deep"]),
    ("? [a, b]\n: c", 6, ["a key must be one word or a quoted text"]),
    ("output: !!set {a}", 6, ["output: YAML's tag tag:yaml.org,2002:set has no place in a job"]),
]


@pytest.mark.parametrize(("added", "line", "parts"), ADDED)
def test_a_wrong_part_of_a_job_is_named_with_its_line(
    tmp_path: Path, added: str, line: int, parts: list[str]
) -> None:
    """A key or value that is wrong is reported with file, line, dotted key and a way out."""
    with pytest.raises(JobError) as caught:
        load(tmp_path, f"{MINIMAL}{added}\n")
    message = next(text for text in str(caught.value).splitlines() if parts[0] in text)
    assert message.startswith(f"job.yaml:{line}: ")
    assert [part for part in parts if part not in message] == []
    assert tells_what_to_do(message)


# (what MINIMAL has, what stands there instead, the line, what the message holds)
REPLACED = [
    ("{path: rows.jsonl}", "{pth: rows.jsonl}", 1, ["input.pth is not a known key. Did you mean path?"]),
    ("{path: rows.jsonl}", "{}", 1, ["input.path is required and missing. A file, a glob", "input.run"]),
    ("{path: rows.jsonl}", "rows.jsonl", 1, ["input: must be a mapping", '"rows.jsonl"']),
    ("{path: rows.jsonl}", "{path: ''}", 1, ["input.path: must not be empty"]),
    (
        "path: rows.jsonl",
        "path: a, format: jsnl",
        1,
        ["input.format: must be one of jsonl, csv, parquet", "jsonl?"],
    ),
    ("path: rows.jsonl", "path: a, limit: 0", 1, ["input.limit: must be at least 1; found 0"]),
    ("path: rows.jsonl", "path: a, limit: '5'", 1, ['input.limit: must be a whole number; found "5"']),
    ("path: rows.jsonl", "path: a, limit: 5, sample: {rows: 3}", 1, ["input.sample excludes input.limit"]),
    ("path: rows.jsonl", "path: a, sample: 5", 1, ["input.sample: must be a mapping; found 5"]),
    ("path: rows.jsonl", "path: a, sample: {seed: 5}", 1, ["input.sample.rows is required and missing"]),
    ("path: rows.jsonl", "path: a, types: {n: integer}", 1, ["input.types.n: must be one of", "found"]),
    ("path: rows.jsonl", "path: a, id: [a, b]", 1, ["input.id: must be text; found a list"]),
    ("path: rows.jsonl", "path: a, run: ../runs/x", 1, ["input.path has no place beside input.run"]),
    ("path: rows.jsonl", "run: x, format: parquet", 1, ["input.format has no place beside input.run"]),
    ("path: rows.jsonl", "run: ''", 1, ["input.run: must not be empty"]),
    ("path: rows.jsonl", "path: a, media_root: 3", 1, ["input.media_root: must be text; found 3"]),
    (
        "path: rows.jsonl",
        "path: a, format: openai-batch",
        3,
        ["prompt.messages has no place with input.format"],
    ),
    (
        '{path: rows.jsonl}\nprompt:\n  messages:\n    - {role: user, content: "{{ text }}"}',
        "{path: a, format: openai-batch}\nprompt:\n  turns: [{content: x}]",
        3,
        ["prompt.turns has no place with input.format: openai-batch"],
    ),
    ("prompt:\n", "prompt:\n  messages_column: m\n", 3, ["prompt.messages_column excludes prompt.messages"]),
    (
        '  messages:\n    - {role: user, content: "{{ text }}"}',
        "  vars: {a: 1}",
        2,
        ["prompt.messages is required and missing, or prompt.messages_column"],
    ),
    (
        'prompt:\n  messages:\n    - {role: user, content: "{{ text }}"}\n',
        "",
        1,
        ["prompt is required and missing. What is sent for each row"],
    ),
    (
        'content: "{{ text }}"',
        "content: [{type: img, text: x}]",
        4,
        ["prompt.messages.0.content.0.type: must be one of text, image_url"],
    ),
    (
        'content: "{{ text }}"',
        "content: [{type: image_url, image_url: {url: x, detail: hgh}}]",
        4,
        ["content.0.image_url.detail: must be one of auto, low, high", "Did you mean high?"],
    ),
    (
        'content: "{{ text }}"',
        "content: [{type: text, txet: x}]",
        4,
        ["prompt.messages.0.content.0.txet is not a known key. Did you mean text?"],
    ),
    ('content: "{{ text }}"', "content: []", 4, ["prompt.messages.0.content: must have at least one item"]),
    ("role: user", "role: tool", 4, ["prompt.messages.0.tool_call_id is required and missing"]),
    ("role: user", "role: user, refusal: x", 4, ["prompt.messages.0.refusal is not a known key"]),
    ("model: simulator/small", "model: openai/*", 5, ["it needs input.format: openai-batch"]),
    ("  messages:", "  mesages:", 3, ["prompt.mesages is not a known key. Did you mean messages?"]),
    ("role: user", "role: usr", 4, ["prompt.messages.0.role: must be one of", "Did you mean user?"]),
    ("role: user, ", "", 4, ["prompt.messages.0.role is required and missing"]),
    ('"{{ text }}"', "{{ text }}", 4, ["prompt.messages.0.content: an unquoted {{ … }}"]),
    ('{role: user, content: "{{ text }}"}', "hello", 4, ["prompt.messages.0: must be a mapping"]),
    ('content: "{{ text }}"', "content: 3", 4, ["prompt.messages.0.content: must be text; found 3"]),
    (
        'content: "{{ text }}"',
        "file: x",
        4,
        ["prompt.messages.0.role is not a known key", "Known here: file"],
    ),
    ('- {role: user, content: "{{ text }}"}', "[]", 3, ["prompt.messages: must have at least one item"]),
    ("prompt:\n", "prompt:\n  vars: {lang: no}\n", 3, ["prompt.vars.lang: no without quotes is false"]),
    ("prompt:\n", "prompt:\n  turns: []\n", 3, ["prompt.turns: must have at least one item"]),
    ("prompt:\n", "prompt:\n  turns: [{}]\n", 3, ["prompt.turns.0.content is required and missing"]),
    ("model: simulator/small", "model: small", 5, ["model: must be ENDPOINT/MODEL"]),
    ("model: simulator/small", "model: /small", 5, ["model: must be ENDPOINT/MODEL"]),
    ("model: simulator/small", "model: simulator/", 5, ["model: must be ENDPOINT/MODEL"]),
    (
        "model: simulator/small",
        "model: simlator/x",
        5,
        ["there is no endpoint simlator. Did you mean simulator?"],
    ),
    ("model: simulator/small", "model:simulator/small", 5, ["a space is missing after the colon"]),
    ("model: simulator/small", "model: {}", 5, ["model.model is required and missing"]),
    ("model: simulator/small\n", "", 1, ["model is required and missing. ENDPOINT/MODEL"]),
    (MINIMAL, "", 1, ["the job file is empty"]),
    (MINIMAL, "input\n", 1, ["a job file must be a mapping of keys"]),
    (MINIMAL, "- input\n", 1, ["a job file must be a mapping of keys"]),
    ('"{{ text }}"}', "{{ text }}, {{ more }}}", 4, ["unquoted {{"]),
    ('{role: user, content: "{{ text }}"}', "{% if x %}", 4, ["unquoted {{ … }} or {% … %}"]),
    (
        '- {role: user, content: "{{ text }}"}',
        "- role: user\n      content: {{ text }} and more",
        5,
        ["unquoted {{ … }} or {% … %}"],
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "parts"), REPLACED)
def test_a_wrong_required_part_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, parts: list[str]
) -> None:
    """The sections that every job has are held to the same messages."""
    assert old in MINIMAL
    with pytest.raises(JobError) as caught:
        load(tmp_path, MINIMAL.replace(old, new))
    message = next(text for text in str(caught.value).splitlines() if parts[0] in text)
    assert message.startswith(f"job.yaml:{line}: ")
    assert [part for part in parts if part not in message] == []
    assert tells_what_to_do(message)


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    """One run shows all there is to mend, in the order of the file, each problem once."""
    text = """\
        input: {path: rows.jsonl, limit: 0}
        prompt:
          messages:
            - {role: usr, content: {{ text }}}
        request:
          temprature: 0
          stop: ${NOPE}
          top_p: 1
          top_p: 2
        model: opnai/gpt
        endpoints:
          vlm: {}
        retry: {max_attempts: 0, timeout: 3}
        """
    with pytest.raises(JobError) as caught:
        load(tmp_path, text, sets=["output.raww=true", "nonsense"])
    starts = [line.split(" ")[0:2] for line in str(caught.value).splitlines()]
    assert starts == [
        ["--set:", "write"],
        ["--set", "output.raww:"],
        ["job.yaml:1:", "input.limit:"],
        ["job.yaml:4:", "prompt.messages.0.content:"],
        ["job.yaml:4:", "prompt.messages.0.role:"],
        ["job.yaml:6:", "request.temprature"],
        ["job.yaml:7:", "request.stop:"],
        ["job.yaml:9:", "request.top_p"],
        ["job.yaml:10:", "model:"],
        ["job.yaml:12:", "endpoints.vlm:"],
        ["job.yaml:13:", "retry.max_attempts:"],
        ["job.yaml:13:", "retry.timeout:"],
    ]


def test_every_error_type_can_or_cannot_lead_to_a_fallback() -> None:
    """A new type of error has to be put on one side: rows that were never sent gain nothing elsewhere."""
    never = NEVER_SENT | {"cancelled"}
    assert set(get_args(FallbackReason)) == set(ERROR_TYPES) - never


SECRET = "sk-proj-Zq8vN2mK4pL7wX9rT3yB"
HEX = "f3a9c1d2e4b5061728394a5b6c7d8e9f"


@pytest.mark.parametrize(
    ("added", "hint"),
    [
        (f"endpoints: {{openai: {{api_key: {SECRET}}}}}", "api_key_env"),
        ("endpoints: {openai: {api_key: SECRETWORD}}", "api_key_env"),
        (f"endpoints: {{openai: {{api_key_env: {SECRET}}}}}", "api_key_env"),
        (f"endpoints: {{openai: {{api_key_env: {HEX}}}}}", "NAME"),
        ("endpoints: {openai: {api_key_env: SECRET-WORD}}", "NAME"),
        ("endpoints: {openai: {headers: {Authorization: SECRETWORD}}}", "api_key_env"),
        ("endpoints: {openai: {headers: {api-key: SECRETWORD}}}", "api_key_env"),
        ("endpoints: {openai: {headers: {X-API-Key: SECRETWORD}}}", "api_key_env"),
        ("endpoints: {openai: {headers: {X-Other: Bearer SECRETWORD}}}", "api_key_env"),
        (f"endpoints: {{openai: {{headers: {{X-Other: {SECRET}}}}}}}", "api_key_env"),
        (f"endpoints: {{openai: {{api_key_cmd: echo {SECRET}}}}}", "api_key_env"),
        (f"endpoints: {{openai: {{api_key_cmd: [echo, {SECRET}]}}}}", "api_key_env"),
        ("endpoints: {openai: {api_key_cmd: 'echo SECRETWORD | tail'}}", "without a shell"),
        ("endpoints: {openai: {api_key_cmd: ['', SECRETWORD]}}", "must not be empty"),
        ("endpoints: {openai: {base_url: ['https://me:SECRETWORD@example.com/v1']}}", "api_key_env"),
        ("endpoints: {openai: {api_key_cmd: 'echo ${OPENAI_API_KEY}'}}", "holds a key"),
        ("endpoints: {openai: {base_url: 'https://me:SECRETWORD@example.com/v1'}}", "api_key_env"),
        ("endpoints: {openai: {base_url: 'https://example.com/v1?api-key=SECRETWORD'}}", "api_key_env"),
        ("endpoints: {openai: {base_url: 'https://SECRETWORD:x/v1'}}", "one URL"),
        ("endpoints: {openai: {proxy: 'http://me:SECRETWORD@proxy.example:1'}}", "${VARIABLE}"),
        (f"request: {{extra_body: {{key: {SECRET}}}}}", "api_key_env"),
        (f"input.id: {SECRET}", "api_key_env"),
        ("request: {user: '${OPENAI_API_KEY}'}", "holds a key"),
        ("retry: {max_wait: '${OPENAI_API_KEY}'}", "holds a key"),
        ("endpoints: {openai: {api_key_env: '${OPENAI_API_KEY}'}}", "by itself"),
        ("endpoints: {vllm: {api_key_env: MINE, headers: {X-A: '${MINE}'}}}", "holds a key"),
    ],
)
def test_a_key_in_a_job_is_refused_and_not_repeated(tmp_path: Path, added: str, hint: str) -> None:
    """A key is refused wherever it stands, and the message does not show it."""
    env = {"OPENAI_API_KEY": "SECRETWORD", "MINE": "SECRETWORD"}
    with pytest.raises(JobError) as caught:
        load(tmp_path, f"{OPENAI}{added}\n", env=env)
    message = str(caught.value)
    assert message.startswith("job.yaml:6: ")
    assert hint in message
    assert not any(secret in message for secret in (SECRET, HEX, "SECRETWORD", "SECRET-WORD"))
    assert len(message.splitlines()) == 1


def test_a_key_given_to_set_is_not_repeated(tmp_path: Path) -> None:
    """A message about --set names the option and its key, never its value."""
    for text in (f"endpoints.openai.api_key={SECRET}", SECRET):
        with pytest.raises(JobError) as caught:
            load(tmp_path, OPENAI, sets=[text])
        assert SECRET not in str(caught.value)


def test_a_key_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    """http with a key is refused except to this machine; without a key it is the user's affair."""
    remote = "endpoints: {openai: {base_url: 'http://vllm.example:8000/v1'"
    with pytest.raises(JobError, match=r"job\.yaml:6: endpoints\.openai\.base_url would send the key"):
        load(tmp_path, f"{OPENAI}{remote}}}}}\n")
    assert (
        load(tmp_path, f"{OPENAI}{remote}, api_key_env: null}}}}\n").endpoints["openai"].api_key_env is None
    )
    for host in ("localhost:1", "127.0.0.9:1", "[::1]:1"):
        job = load(tmp_path, f"{OPENAI}endpoints: {{openai: {{base_url: 'http://{host}/v1'}}}}\n")
        assert job.endpoints["openai"].base_url == f"http://{host}/v1"


def test_openai_base_url_is_checked_like_the_file(tmp_path: Path) -> None:
    """OPENAI_BASE_URL from the environment is held to the same rules, and named."""
    for url, reason in (("nonsense", "one URL"), ("http://example.com/v1", "unencrypted")):
        with pytest.raises(JobError, match=f"OPENAI_BASE_URL.*{reason}"):
            load(tmp_path, OPENAI, env={"OPENAI_BASE_URL": url})


def test_an_alias_bomb_is_stopped(tmp_path: Path) -> None:
    """Aliases that multiply to billions of values end as a message, quickly."""
    levels = "\n".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10))
    with pytest.raises(JobError, match="repeat too much"):
        load(tmp_path, f"{MINIMAL}request:\n  l0: &l0 [x, x]\n{levels}\n")


def test_a_file_that_is_no_job_is_named(tmp_path: Path) -> None:
    """A missing file, a folder, bytes that are no text and a whole prompt table are told apart."""
    (tmp_path / "latin.yaml").write_bytes(b"name: x\nmodel: caf\xe9\n")
    (tmp_path / "rows.jsonl").write_bytes(b"{}\n" * 2_000_000)
    for file, message in {
        "none.yaml": "none.yaml: cannot be read: No such file",
        ".": ".: cannot be read: Is a directory",
        "latin.yaml": "latin.yaml:2: not UTF-8 text: byte 0xe9",
        "rows.jsonl": "rows.jsonl: larger than 4,000,000 bytes\n  If this is the prompt table",
    }.items():
        with pytest.raises(JobError) as caught:
            load_job(Path(file), env={}, cwd=tmp_path)
        assert str(caught.value).startswith(message)


def test_a_file_whose_name_cannot_be_a_runs_name_needs_one(tmp_path: Path) -> None:
    """The default for `name` is the file's stem, when that can name a folder."""
    with pytest.raises(JobError, match="name is missing, and 'my job', from the file's name, cannot name"):
        load(tmp_path, MINIMAL, file="my job.yaml")
    assert load(tmp_path, MINIMAL, file="my job.yaml", name="mine").name == "mine"
