"""The messages of a prompt, with message files read in from below the job's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import JobError
from batchrun.job import read_messages
from tests.job.jobs import load


def messages(folder: Path, items: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each message with its place."""
    document = {"input": {"path": "rows.jsonl"}, "prompt": {"messages": items}, "model": "simulator/a"}
    job = load(folder, json.dumps(document))
    return list(read_messages(job))


def from_file(folder: Path, text: str) -> list[dict[str, Any]]:
    """The messages of one message file."""
    (folder / "shots.yaml").write_text(text, encoding="utf-8")
    return [message for _place, message in messages(folder, [{"file": "shots.yaml"}])]


def test_a_message_file_is_spliced_in_where_it_stands(tmp_path: Path) -> None:
    """Each message knows where it comes from, for errors about it."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "shots.yaml").write_text(
        "- {role: user, content: ping}\n- {role: assistant, content: pong, name: bot}\n"
    )
    found = messages(
        tmp_path,
        [
            {"role": "system", "content": "Be kind."},
            {"file": "prompts/shots.yaml"},
            {"role": "user", "content": "{{ text }}"},
        ],
    )
    assert found == [
        ("job.yaml:1: prompt.messages.0", {"role": "system", "content": "Be kind."}),
        ("prompts/shots.yaml: message 1", {"role": "user", "content": "ping"}),
        ("prompts/shots.yaml: message 2", {"role": "assistant", "content": "pong", "name": "bot"}),
        ("job.yaml:1: prompt.messages.2", {"role": "user", "content": "{{ text }}"}),
    ]


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('- {role: user, content: "{{ text }}"}', "{{ text }}"),
        ("- role: user\n  content: |\n    a\n\n    {{ b }}\n", "a\n\n{{ b }}\n"),
        ('- {role: user, content: "${HOME}"}', "${HOME}"),
        ('- {role: user, content: "1e5"}', "1e5"),
        ("- role: user\n  content: |-\n    2e3\n", "2e3"),
        ('[{"role": "user", "content": "yes"}]', "yes"),
    ],
)
def test_text_is_taken_as_it_stands(tmp_path: Path, text: str, content: str) -> None:
    """No variable is replaced in a prompt, and what is in quotes is never a number."""
    assert from_file(tmp_path, text) == [{"role": "user", "content": content}]


def test_an_empty_list_is_no_message(tmp_path: Path) -> None:
    """Shots that were taken out for a while."""
    assert from_file(tmp_path, "[]") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "shots.yaml:1: the file: must be a list"),
        ("role: user\ncontent: x\n", "shots.yaml:1: the file: must be a list"),
        (
            "- {role: user, content: a}\n- {role: robot, content: x}\n",
            "shots.yaml:2: 1.role: must be one of system, developer",
        ),
        (
            "- role: user\n  content: x\n  kontent: y\n",
            "shots.yaml:3: 0.kontent is not a known key. Did you mean content?",
        ),
        ("- role: user\n", "shots.yaml:1: 0.content is required and missing."),
        ("- role: user\n  content: yes\n", "shots.yaml:2: 0.content: must be text; found yes"),
        ("- {file: other.yaml}\n", "shots.yaml:1: 0.role is required and missing."),
        ("- role: user\n  content: {{ x }}\n", "shots.yaml:2: 0.content: an unquoted {{ … }}"),
        (
            "- role: user\n  role: user\n  content: x\n",
            "shots.yaml:2: 0.role is given twice, first on line 1",
        ),
        ("- {role: user", "shots.yaml:1: a { that is opened here is not closed"),
        ("[", "shots.yaml:1: "),
        ("'", "shots.yaml:1: a quote that is opened here is never closed"),
    ],
)
def test_what_is_no_list_of_messages_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    """In the message file's own name."""
    with pytest.raises(JobError) as caught:
        from_file(tmp_path, text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../shots.yaml", "../shots.yaml is not below the job's folder, {folder}"),
        ("{folder}/../shots.yaml", "is not below the job's folder"),
        ("link.yaml", "link.yaml is not below the job's folder"),
        ("absent.yaml", "absent.yaml cannot be read: No such file or directory"),
        ("folder", "folder cannot be read: Is a directory"),
        ("latin.yaml", "latin.yaml cannot be read: it is not UTF-8 text"),
    ],
)
def test_only_readable_files_below_the_folder_are_taken(tmp_path: Path, name: str, reason: str) -> None:
    """With the job's line and key; a symlink does not lead out either."""
    folder = tmp_path / "job"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "shots.yaml").write_text("- {role: user, content: secret}")
    (folder / "link.yaml").symlink_to(tmp_path / "shots.yaml")
    (folder / "latin.yaml").write_bytes(b"- {role: user, content: caf\xe9}")
    with pytest.raises(JobError) as caught:
        messages(folder, [{"file": name.format(folder=folder)}])
    assert str(caught.value).startswith("job.yaml:1: prompt.messages.0.file: ")
    assert reason.format(folder=folder) in str(caught.value)
