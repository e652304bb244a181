"""Job files that are wrong, or YAML that is a trap."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.reliability.corpus.case import Case, Content

ROWS = b'{"value":1}\n'
GOOD = b"""\
input: {path: rows.jsonl}
prompt: {messages: [{role: user, content: "{{ value }}"}]}
model: simulator/small
"""
_BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(12)
)
_FILE = r"job\.yaml"

WRONG: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \n\t\n",
    "a comment": b"# nothing\n",
    "null": b"null\n",
    "a list": b"- a\n",
    "a text": b"hello\n",
    "a number": b"1\n",
    "two documents": GOOD + b"---\n" + GOOD,
    "an end in the middle": GOOD + b"...\nmore: 1\n",
    "a directive": b"%YAML 9.9\n---\n" + GOOD,
    "a NUL": GOOD + b"\x00",
    "NULs": bytes(10_000),
    "binary": bytes(range(256)) * 10,
    "random text": b"\x1b[31m\x07",
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "Latin-1": b"name: \xe9\n" + GOOD,
    "a lone surrogate": b'name: "\\ud800"\n' + GOOD,
    "a byte order mark inside": b"name: a\n\xef\xbb\xbfinput: 1\n",
    "a tab": b"input:\n\tpath: rows.jsonl\n",
    "a tab after the key": b"input:\t{path: 1}\nprompt:\n \tmessages: []\n",
    "5 MB": b"# " + b"x" * 5_000_000,
    "5 MB of rows": ROWS * 450_000,
    "many values": b"name: [" + b"a," * 1_500_000 + b"a]\n",
    "many keys": b"".join(b"k%d: 1\n" % number for number in range(150_000)),
    "deep lists": b"name: " + b"[" * 100_000,
    "deep mappings": b"name: " + b"{a: " * 100_000,
    "deep indentation": b"".join(b" " * n + b"a:\n" for n in range(1_000)),
    "an alias bomb": _BOMB.encode(),
    "a bomb of merges": b"a: &a {k: 1}\n"
    + b"".join(
        b"b%d: &b%d {<<: [*%s, *%s]}\n" % (n, n, p, p)
        for n, p in ((n, b"b%d" % (n - 1) if n else b"a") for n in range(30))
    ),
    "a cycle": b"a: &a [*a]\n" + GOOD,
    "a cycle of mappings": b"name: &a {b: *a}\n" + GOOD,
    "a cycle of merges": b"name: &a {<<: *a}\n" + GOOD,
    "an unknown alias": b"name: *nothing\n" + GOOD,
    "a Python object": b"name: !!python/object/apply:os.system [id]\n" + GOOD,
    "a Python name": b"name: !!python/name:os.system\n" + GOOD,
    "a tag": b"name: !secret x\n" + GOOD,
    "binary data": b"name: !!binary aGk=\n" + GOOD,
    "a set": b"name: !!set {a, b}\n" + GOOD,
    "an ordered map": b"name: !!omap [a: 1]\n" + GOOD,
    "a duplicate key": GOOD + b"model: simulator/large\n",
    "a duplicate key below": b"input: {path: a, path: b}\n" + GOOD.split(b"\n", 1)[1],
    "an unknown key": GOOD + b"modle: x\n",
    "an unknown key below": GOOD + b"retry: {attempts: 3}\n",
    "a list for a key": GOOD + b"? [a, b]\n: c\n",
    "a mapping for a key": GOOD + b"? {a: b}\n: c\n",
    "a bare template": GOOD.replace(b'"{{ value }}"', b"{{ value }}"),
    "a bare percent": GOOD + b"checks: {failed: %1}\n",
    "an open quote": GOOD + b'name: "a\n',
    "an open bracket": GOOD + b"name: [a\n",
    "a wrong escape": GOOD + b'name: "\\q"\n',
    "bad indentation": b"input:\n  path: a\n format: csv\n",
    "no space after the colon": b"input:{path: a}\n",
    "no input": GOOD.split(b"\n", 1)[1],
    "no model": GOOD.replace(b"model: simulator/small\n", b""),
    "no prompt": b"input: {path: rows.jsonl}\nmodel: simulator/small\n",
    "a model without an endpoint": GOOD.replace(b"simulator/small", b"small"),
    "an unknown endpoint": GOOD.replace(b"simulator/small", b"nowhere/small"),
    "input is text": GOOD.replace(b"{path: rows.jsonl}", b"rows.jsonl"),
    "input is a list": GOOD.replace(b"{path: rows.jsonl}", b"[rows.jsonl]"),
    "path is a number": GOOD.replace(b"rows.jsonl", b"1"),
    "path is null": GOOD.replace(b"rows.jsonl", b"null"),
    "messages are text": GOOD.replace(b'[{role: user, content: "{{ value }}"}]', b"hello"),
    "messages are empty": GOOD.replace(b'[{role: user, content: "{{ value }}"}]', b"[]"),
    "an unknown role": GOOD.replace(b"role: user", b"role: root"),
    "limit of text": GOOD.replace(b"jsonl}", b"jsonl, limit: ten}"),
    "limit of 0": GOOD.replace(b"jsonl}", b"jsonl, limit: 0}"),
    "limit below 0": GOOD.replace(b"jsonl}", b"jsonl, limit: -1}"),
    "limit of a fraction": GOOD.replace(b"jsonl}", b"jsonl, limit: 1.5}"),
    "limit of true": GOOD.replace(b"jsonl}", b"jsonl, limit: true}"),
    "limit in octal": GOOD.replace(b"jsonl}", b"jsonl, limit: 017}"),
    "limit with a thousand digits": GOOD.replace(b"jsonl}", b"jsonl, limit: " + b"9" * 1_000 + b"}"),
    "an unknown format": GOOD.replace(b"jsonl}", b"jsonl, format: xml}"),
    "an unknown type": GOOD.replace(b"jsonl}", b"jsonl, types: {value: money}}"),
    "an unset variable": GOOD.replace(b"rows.jsonl", b'"${NO_SUCH_VARIABLE}"'),
    "a broken variable": GOOD.replace(b"rows.jsonl", b'"${"'),
    "temperature of 99": GOOD + b"request: {temperature: 99}\n",
    "temperature of NaN": GOOD + b"request: {temperature: .nan}\n",
    "temperature of infinity": GOOD + b"request: {temperature: .inf}\n",
    "a key in the file": GOOD + b"endpoints: {simulator: {api_key: sk-secret}}\n",
    "a header with a newline": GOOD
    + b'endpoints: {x: {base_url: "http://127.0.0.1:9", headers: {A: "b\\nc"}}}\n',
    "a base URL of a file": GOOD + b'endpoints: {x: {base_url: "file:///etc/passwd"}}\n',
    "a base URL with a password": GOOD + b'endpoints: {x: {base_url: "https://a:b@c"}}\n',
    "a name with a slash": GOOD + b"name: a/b\n",
    "a name of dots": GOOD + b"name: ..\n",
    "a name of a path": GOOD + b"name: ../../etc\n",
    "an empty name": GOOD + b'name: ""\n',
    "a yes for a name": GOOD + b"name: yes\n",
    "concurrency of 0": GOOD + b"endpoints: {simulator: {limits: {concurrency: 0}}}\n",
    "budget below 0": GOOD + b"budget: {requests: -1}\n",
    "wall time of text": GOOD + b"budget: {wall_time: soon}\n",
    "retry of 1e999": GOOD + b"retry: {max_wait: 1e999}\n",
    "checks of SQL": GOOD + b"input: 1\n",
}
TAKEN: dict[str, bytes] = {
    "as it is": GOOD,
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "CRLF": GOOD.replace(b"\n", b"\r\n"),
    "CR alone": GOOD.replace(b"\n", b"\r"),
    "no final newline": GOOD.rstrip(),
    "comments": b"# one\n" + GOOD + b"# two\n",
    "document markers": b"---\n" + GOOD,
    "JSON": b'{"input":{"path":"rows.jsonl"},"model":"simulator/small",'
    b'"prompt":{"messages":[{"role":"user","content":"{{ value }}"}]}}',
    "anchors": b"input: &i {path: rows.jsonl}\n" + GOOD.split(b"\n", 1)[1],
}


def cases() -> Iterator[Case]:
    """Every job file of this module."""
    for name, data in WRONG.items():
        yield Case("job files", name, {"rows.jsonl": ROWS}, data, refused=_FILE)
    for name, data in TAKEN.items():
        yield Case("job files", name, {"rows.jsonl": ROWS}, data)
    yield from _schemas()
    yield from _message_files()


def _schemas() -> Iterator[Case]:
    deep = {depth: b'{"items":' * depth + b"{}" + b"}" * depth for depth in (100, 300, 1_000, 100_000)}
    wrong: dict[str, Content] = {
        "no JSON": b"{",
        "a list": b"[]",
        "nothing": b"",
        "an unknown type": b'{"type":"money"}',
        "a remote $ref": b'{"$ref":"http://127.0.0.1:9/schema.json"}',
        "a file for a $ref": b'{"$ref":"file:///etc/passwd"}',
        "a $ref beside": b'{"$ref":"rows.jsonl"}',
        "a $ref to nothing": b'{"$ref":"#/$defs/nothing"}',
        "a remote $schema": b'{"$schema":"http://127.0.0.1:9/meta.json"}',
        "a wrong pattern": b'{"type":"string","pattern":"("}',
        "a pattern of a number": b'{"type":"string","pattern":1}',
        "required of text": b'{"required":"a"}',
        "minimum of text": b'{"minimum":"a"}',
        "UTF-16": '{"type":"object"}'.encode("utf-16"),
        "5 MB": b'{"description":"' + b"x" * 5_000_000 + b'"}',
        "100,000 levels": deep[100_000],
        "1,000 levels": deep[1_000],
        "a pipe": os.mkfifo,
        "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "a folder": lambda path: path.mkdir(),
        "nothing there": lambda path: path.symlink_to("nothing"),
    }
    for name, content in wrong.items():
        yield _schema(name, content, refused=r"job\.yaml:\d+: schema")
    taken = {
        "100 levels": deep[100],
        "recursive": b'{"type":"object","properties":{"a":{"$ref":"#"}}}',
        "recursive by definitions": b'{"$ref":"#/$defs/a","$defs":{"a":{"items":{"$ref":"#/$defs/b"}},'
        b'"b":{"items":{"$ref":"#/$defs/a"}}}}',
        "a $ref to itself": b'{"$ref":"#"}',
        "two that refer to each other": b'{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},'
        b'"b":{"$ref":"#/$defs/a"}}}',
        "allOf itself": b'{"allOf":[{"$ref":"#"}]}',
        "300 levels": deep[300],
        "a slow pattern": b'{"type":"string","pattern":"^(a+)+$"}',
        "a pattern that looks back": b'{"type":"string","pattern":"^(a|a)*\\\\1$"}',
        "10,000 properties": b'{"properties":{' + b",".join(b'"p%d":{}' % n for n in range(10_000)) + b"}}",
        "an enum of 10,000": b'{"enum":[' + b",".join(b'"e%d"' % n for n in range(10_000)) + b"]}",
        "doubling references": b'{"$defs":{"d0":{"type":"object"},'
        + b",".join(
            b'"d%d":{"type":"object","properties":{"a":{"$ref":"#/$defs/d%d"},"b":{"$ref":"#/$defs/d%d"}}}'
            % (n, n - 1, n - 1)
            for n in range(1, 25)
        )
        + b'},"$ref":"#/$defs/d24"}',
    }
    for name, content in taken.items():
        yield _schema(name, content, either=True, alone=name == "doubling references")


def _schema(name: str, content: Content, **ends: object) -> Case:
    files = {"rows.jsonl": ROWS, "s.json": content}
    return Case("schemas", name, files, GOOD + b"schema: s.json\n", **ends)  # type: ignore[arg-type] # its own fields


def _message_files() -> Iterator[Case]:
    wrong: dict[str, Content] = {
        "nothing": b"",
        "a mapping": b"role: user\n",
        "no role": b"- {content: x}\n",
        "no YAML": b"- {",
        "Latin-1": b"- {role: user, content: \xe9}\n",
        "a pipe": os.mkfifo,
        "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "outside": lambda path: path.symlink_to("/etc/passwd"),
        "a loop": lambda path: path.symlink_to("m.yaml"),
        "a folder": lambda path: path.mkdir(),
        "5 MB": b"- {role: user, content: " + b"x" * 5_000_000 + b"}\n",
        "an alias bomb": _BOMB.encode(),
    }
    job = GOOD.replace(b'[{role: user, content: "{{ value }}"}]', b"[{file: m.yaml}]")
    for name, content in wrong.items():
        yield Case("message files", name, {"rows.jsonl": ROWS, "m.yaml": content}, job, refused=r"m\.yaml")
    for path in (b"../m.yaml", b"/etc/passwd", b"nothing.yaml"):
        outside = job.replace(b"m.yaml", path)
        yield Case(
            "message files", path.decode(), {"rows.jsonl": ROWS}, outside, refused=r"job\.yaml:\d+: prompt"
        )
