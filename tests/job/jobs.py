"""Job files for the tests of this folder: a small one to change, and one with every key."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchrun.job import Job, load_job

MINIMAL = """\
input: {path: rows.jsonl}
prompt:
  messages:
    - {role: user, content: "{{ text }}"}
model: simulator/small
"""

FULL = """\
# yaml-language-server: $schema=job.schema.json
name: ticket-triage
input:
  path: ../sample_data/tickets.jsonl
  format: jsonl
  id: ticket_id
  types: {stars: float64}
  where: "lang = 'en' AND stars < 3"
  sample: {rows: 2000, seed: 1}
  media_root: media
prompt:
  vars: {tone: formal}
  messages:
    - role: system
      content: "{% include 'prompts/rules.md' %}"
    - {file: prompts/shots.yaml}
    - role: user
      content: |
        {{ subject }} in ${HOME}

        {{ body }}
    - role: assistant
      content: [{type: text, text: "{{ subject }}"}, {type: refusal, refusal: not now}]
      tool_calls: [{id: call_1, type: function, function: {name: look_up, arguments: "{}"}}]
      extra_body: {prefix: true}
    - {role: tool, tool_call_id: call_1, content: found}
    - role: user
      content:
        - {type: text, text: "{{ body }}"}
        - type: image_url
          image_url: {url: "{{ photo }}", detail: low}
        - type: input_audio
          input_audio: {data: "{{ sound }}", format: wav}
  turns:
    - {content: "Why {{ answer }}?"}
schema: schemas/ticket.json
run_tools: {module: tools.py, functions: [look_up], max_turns: 3}
request:
  temperature: 0
  max_completion_tokens: "{{ max_tokens }}"
  logprobs: true
  top_logprobs: 5
  stream: true
  stream_options: {include_usage: true}
  metadata: {batch: "{{ subject }}"}
  tools:
    - type: function
      function: {name: route, strict: true, parameters: {type: object}}
    - type: custom
      custom: {name: free, format: {type: grammar, grammar: {definition: a, syntax: regex}}}
    - {type: web_search}
  tool_choice:
    type: allowed_tools
    allowed_tools: {mode: auto, tools: [{type: function, function: {name: look_up}}]}
  prediction: {type: content, content: [{type: text, text: "{{ body }}"}]}
  web_search_options: {user_location: {type: approximate, approximate: {city: Rome}}}
  structured_outputs: {regex: "a|b"}
  logits_processors: [a.b, {qualname: c.d, kwargs: {x: 1}}]
  extra_body: {guided_choice: [a, b]}
model: openai/gpt-4.1-mini
fallbacks:
  - model: lunos/openai/gpt-4.1-mini
    limits: {concurrency: 32}
    request: {logprobs: null, top_logprobs: null, stream: "{{ live }}"}
  - flaky/any
fallback_on: [rate_limit, server, connection, timeout, quota, auth, model_not_found, context_length]
fail_on: [invalid_output, refusal, content_filter]
endpoints:
  openai: {limits: {rpm: 5000, tpm: 2000000, concurrency: 16}}
  lunos:
    base_url: https://api.lunos.tech/v1/
    api_key_env: LUNOS_API_KEY
    token_limit: max_completion_tokens
    instructions: null
    headers: {X-App-ID: ticket-triage}
    proxy: http://proxy.example:8080
    ca_file: ../certs/ca.pem
  flaky: {preset: simulator, simulator: {seed: 3, faults: [{rate: 0.1, status: 500}]}}
retry:
  max_attempts: 8
  reask: 1
  max_wait: 2m
  backoff: {initial: 500ms, max: 60}
  timeout: {connect: 10, idle: 120, total: 10m, row: 1.5h}
stop_when: {failed: "40%", after: 20}
checks: {failed: "<= 1%", "parsed.label = gold_label": ">= 92.5 %", ok: ">3"}
output:
  path: ../runs/ticket-triage
  columns: [ticket_id, subject]
  messages: false
  raw: yes
"""


def load(
    folder: Path,
    text: str,
    *,
    file: str = "job.yaml",
    sets: Sequence[str] = (),
    name: str | None = None,
    model: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Job:
    """Write `text` as a job file into `folder` and load it from there."""
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(textwrap.dedent(text), encoding="utf-8")
    return load_job(Path(file), sets=sets, name=name, model=model, env=env or {}, cwd=folder)
