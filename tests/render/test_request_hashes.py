"""The request hash, version 1, and the bytes that are sent: both stay what they were in any release.

A new value in one of these tables means that people's finished rows would be paid for again.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun import codec
from batchrun.render.renderer import Renderer
from tests.job.jobs import load

ROW: dict[str, Any] = {
    "id": "r1",
    "text": "Grüße, “hello”\n",
    "size": 20,
    "warmth": 0.5,
    "items": [{"name": "a", "price": 1.5, "many": 2**70}, {"name": "b", "price": 2.0, "tags": ["x", None]}],
    "log": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "refusal": "no"}],
    "body": {"model": "other", "messages": [{"role": "user", "content": "hi"}], "seed": 1, "max_tokens": 5},
    "nothing": None,
    "photo": "https://example.org/a.png",
    "file": "dot.gif",
    "some name": "spaced",
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"z": {"enum": ["a", "b"]}, "a": {"type": "string"}},
    "required": ["z", "a"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def said(content: Any, **more: Any) -> dict[str, Any]:
    """A job whose prompt is one message of the user's."""
    return {"prompt": {"messages": [{"role": "user", "content": content}]}, **more}


def parts(*found: dict[str, Any]) -> dict[str, Any]:
    return said([{"type": "text", "text": "{{ text }}"}, *found])


JOBS: dict[str, tuple[dict[str, Any], str, str]] = {
    "one column": (
        said("{{ text }}"),
        "9fda81b5440d1bf36574374e43dd982d",
        "c75c0c6bea36ab2d2cd5ab054df9a184",
    ),
    "text around columns": (
        said("Id {{ id }}:\r\n{{text}}{{ text }}}} of {{ size }}\n"),
        "5335c70818bfd778b7f7a9cbfb130cba",
        "22872ce6e8f1be913e1194114bfb68d8",
    ),
    "no template": (
        said("the same for every row"),
        "fd15a4d884f83f31a879f2d349d3261d",
        "33e831d6d43ab0d14b3223098d1c23f2",
    ),
    "trimmed": (
        said("a {{- text -}} b"),
        "e09a489265c5684692f950cb2e46e796",
        "a81345ce35bf74f67cca4e67bdda187d",
    ),
    "an include": (
        said("{% include 'rules.md' %}{{ text }}"),
        "38f3750d0da00e75df62af6a98715af6",
        "f905aff32f13920a02da59014b0e6621",
    ),
    "an include by an expression": (
        said("{% include 'rules' + '.md' %}"),
        "bb1e8e0c6135937aee32e2dafaa57192",
        "59117b2acd6fc14ca60db65081c72d1e",
    ),
    "vars": (
        {"prompt": {**said("{{ tone }} {{ text }}")["prompt"], "vars": {"tone": "dry"}}},
        "38940e67a5d5505084b6e32ed0d5a6d5",
        "e4d02868704b2d4ed925a79d84dfc11f",
    ),
    "a loop": (
        said("{% for i in items %}{{ i.name }} {{ i.price }} {{ i }}\n{% endfor %}"),
        "89f8e8bfb45ae14d0b5a916de75eef38",
        "46b1205b281163e3a75212f22ef71f8b",
    ),
    "a set within an if": (
        said("{% if nothing %}{% set text = 1 %}{% endif %}{{ text }}"),
        "9fda81b5440d1bf36574374e43dd982d",
        "c75c0c6bea36ab2d2cd5ab054df9a184",
    ),
    "a macro": (
        said("{% macro m(a) %}{{ a }} {{ size }}{% endmacro %}{{ m(text) }}"),
        "c8df9f20fb7bac65c0575a9f5dede56d",
        "bd7028ee20619991dafe3cc3d53000ba",
    ),
    "tojson": (
        said("{{ items|tojson }}"),
        "967cc5dba641dd01366c39a6163981b3",
        "02e8ce9cbe857eeccd36274a18e4df22",
    ),
    "a name as text": (
        said("{{ row['some name'] }}"),
        "24285f104283dd04ae426b4b207fa8bb",
        "ac0c8f7030ab9ae7237d1abf5e32c29b",
    ),
    "columns by their names": (
        said("{% for name in ['id', 'some name'] %}{{ row[name] }} {% endfor %}"),
        "3f7f4c1f1bd24d7e425b0492bf5d391c",
        "8c74f4f313c7f74763e9509ad1e92aa6",
    ),
    "a null": (
        said("<{{ nothing }}>"),
        "fed081e1646bf45d778cff1b8f483eb4",
        "b2697f345100e8231b45b5222ece3ef2",
    ),
    "parts": (
        parts({"type": "image_url", "image_url": {"url": "{{ photo|data_url }}"}}),
        "5b0b88ba35069d74f15bf9b44598902c",
        "57ec7b9303d25880c3dfc097f18e0ea8",
    ),
    "a photo": (
        {
            "input": {"path": "rows.jsonl", "media_root": "."},
            **parts({"type": "image_url", "image_url": {"url": "{{ file|data_url }}"}}),
        },
        "76ce30d411a66d194fe768a4c47a7f90",
        "4dd097d09a537b23bac11620681a1c7d",
    ),
    "several messages": (
        {
            "prompt": {
                "messages": [
                    {"content": "Be brief.", "role": "system"},
                    {"role": "user", "content": "{{ text }}", "name": "ann"},
                    {"role": "assistant", "content": "{{ id }}", "refusal": "{{ text }}"},
                    {"role": "user", "content": "{{ items[0].name }}", "extra_body": {"cache": True}},
                ]
            }
        },
        "a241f6fba5bdbc916a5b2c430d60b4b6",
        "a9a036c42ad91fafc074faeb13420899",
    ),
    "fixed parameters": (
        said("{{ text }}", request={"temperature": 0, "stop": ["z", "a"], "stream": True, "store": True}),
        "aae23a137a172e7206ecb57b5a5487d9",
        "c1aec04b93792c084ce776277f569b70",
    ),
    "parameters of the row": (
        said(
            "{{ text }}",
            request={
                "temperature": "{{ warmth }}",
                "max_completion_tokens": "{{ size + 1 }}",
                "stop": ["{{ id }}", "end"],
                "seed": "{{ nothing }}",
                "metadata": {"batch": "{{ text }}"},
                "extra_body": {"own": "{{ items }}", "many": "{{ items[0].many }}"},
            },
        ),
        "c171d9613319ff443099a4f3dff270e3",
        "c71facffeb9b7293e1bfaac269e93983",
    ),
    "tools": (
        said("{{ text }}", request={"tools": [TOOL], "tool_choice": "auto"}),
        "b17d50b5dda84f0af3aa124eb007d6f8",
        "5dbc7cb8e80b55bbfda96c5d068b11a3",
    ),
    "a schema": (
        said("{{ text }}", schema=SCHEMA),
        "05969526d92b55ffb6f9a9d53c673ee4",
        "5685bcf040234312fe14757e36961e01",
    ),
    "a schema that is not sent": (
        said(
            "{{ text }}", schema=SCHEMA, model={"model": "openai/small", "request": {"response_format": None}}
        ),
        "01c17764f4f2c55cf3162d75e37c9ee7",
        "c75c0c6bea36ab2d2cd5ab054df9a184",
    ),
    "turns": (
        {
            "prompt": {
                **said("{{ text }}")["prompt"],
                "turns": [
                    {"role": "user", "content": "{{ size }} {{ answer }}"},
                    {"role": "user", "content": "{{ row['id'] }} {% include 'rules.md' %}"},
                ],
            }
        },
        "4c20f639000690ef24a9eefb6586b65c",
        "c75c0c6bea36ab2d2cd5ab054df9a184",
    ),
    "messages of the row": (
        {"prompt": {"messages_column": "log"}, "request": {"top_p": 1.0}},
        "9e324ba8528a5490bed47d7c9f1d9105",
        "8c0042512a18cc36a6da71962371c05b",
    ),
    "whole requests": (
        {"input": {"path": "rows.jsonl", "format": "openai-batch"}},
        "abe3517e78fe5838551958ea079c00c4",
        "ce216a5d24f04a3cc943fd8c289c3bcf",
    ),
    "whole requests, any model": (
        {
            "input": {"path": "rows.jsonl", "format": "openai-batch"},
            "model": "openai/*",
            "request": {"max_completion_tokens": 9},
        },
        "4acec7e19f0d93ce908332376c2c225d",
        "4f30700f4f381f155d351a6c9efb508b",
    ),
    "a server of older names": (
        {
            "prompt": {"messages": [{"role": "developer", "content": "{{ text }}"}]},
            "request": {"max_completion_tokens": "{{ size }}", "top_k": 3},
            "model": "vllm/small",
        },
        "7e33ae269b1744983b5bdcb6543c8371",
        "8ecd55df7faa14aa5d76df1f811c3647",
    ),
}
"""A job, the hash of ROW's request, and the digest of the body that is sent for it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's folder with a file to include."""
    path = tmp_path_factory.mktemp("job")
    (path / "rules.md").write_text("Rules for {{ id }}:\n{{ items[1].tags|length }}\n")
    (path / "dot.gif").write_bytes(b"GIF89a")
    os.utime(path / "dot.gif", ns=(0, 1_700_000_000_000_000_000))
    return path


def renderer(folder: Path, job: dict[str, Any]) -> Renderer:
    whole = {"name": "job", "input": {"path": "rows.jsonl"}, "model": "openai/small", **job}
    return Renderer(load(folder, json.dumps(whole)))


@pytest.mark.parametrize(("job", "request_hash", "body"), JOBS.values(), ids=JOBS.keys())
def test_hash_and_body_stay_what_they_were(
    folder: Path, job: dict[str, Any], request_hash: str, body: str
) -> None:
    """For every kind of job."""
    request = renderer(folder, job).render(ROW)
    assert (request.request_hash, codec.digest(request.body(0))) == (request_hash, body)


def test_each_row_has_a_hash_of_its_own_whatever_came_before_it(folder: Path) -> None:
    """One renderer for all rows gives what a new one gives for each."""
    for name, (job, request_hash, body) in JOBS.items():
        used = renderer(folder, job)
        used.render({**ROW, "text": "another", "size": 7, "log": [{"role": "user", "content": "x"}]}).body(0)
        request = used.render(ROW)
        assert (request.request_hash, codec.digest(request.body(0))) == (request_hash, body), name


@pytest.fixture(scope="module")
def plain(folder: Path) -> Renderer:
    """The renderer of a job whose request is easily spelled again."""
    return renderer(folder, said("{{ text }} of {{ size }}", request={"seed": 3}))


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])), size=st.integers(-(2**80), 2**80) | st.text("ab")
)
def test_the_hash_is_that_of_canonical_json(plain: Renderer, text: str, size: int | str) -> None:
    """Any other program can compute it: BLAKE2b of compact JSON with sorted keys."""
    spelled = {
        "v": 1,
        "model": "openai/small",
        "messages": [{"role": "user", "content": f"{text} of {size}"}],
        "request": {"seed": 3},
    }
    data = json.dumps(spelled, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    found = plain.render({"text": text, "size": size}).request_hash
    assert found == hashlib.blake2b(data, digest_size=16).hexdigest()
