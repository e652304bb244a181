"""The job file that `init` writes: what the table needs, and comments for what is wanted next."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EDQUOT, EIO, ENOSPC
from pathlib import Path

from batchrun.errors import StorageError, UsageError
from batchrun.export import replacing
from batchrun.init.table import Table
from batchrun.init.tasks import NO_LABELS, TASKS, TaskKind
from batchrun.job import ANY_MODEL, OPENAI_BATCH, PRESETS, SIMULATOR, job_schema
from batchrun.job.checking.known import did_you_mean
from batchrun.storage import is_remote
from batchrun.template.source import column_name

SCHEMA_FILE = "job.schema.json"

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """What the job shall be. `endpoint` is a preset's name; of a `model` of "*" each row names its own."""

    data: str
    task: TaskKind
    endpoint: str
    model: str
    out: Path


def checked_endpoint(endpoint: str) -> str:
    """Raises UsageError when it is no preset, with the nearest spelling."""
    if endpoint not in PRESETS:
        raise UsageError(
            f"--endpoint {endpoint}: is no preset.{did_you_mean(endpoint, PRESETS)}",
            hint=f"Presets: {', '.join(PRESETS)}. Any other server is described in the job file itself.",
        )
    return endpoint


def refuse_taken(out: Path, cwd: Path) -> None:
    """Raises UsageError when the file is there already."""
    if os.path.lexists(cwd / out):
        raise UsageError(f"{out} exists already and is left as it is", hint="Name another file with --out.")


def write_job(wish: Wish, table: Table, cwd: Path) -> Path:
    """Write the job file, and the schema that its first line names where there is none; gives its path.

    Raises UsageError when the file exists already, or cannot be written there, and StorageError when the
    disk refuses it; there is no half of a file then.
    """
    refuse_taken(wish.out, cwd)
    out = cwd / wish.out
    schema = out.parent / SCHEMA_FILE
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        has_schema = schema.exists()
    except OSError as error:
        refused = StorageError if error.errno in (ENOSPC, EDQUOT, EIO) else UsageError
        raise refused(f"{wish.out}: cannot be written: {error.strerror}") from error
    if not has_schema:
        _write(schema, json.dumps(job_schema(), indent=2, ensure_ascii=False) + "\n")
    _write(out, job_text(wish, table, cwd))
    return out


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def job_text(wish: Wish, table: Table, cwd: Path) -> str:
    """The job file's text."""
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# Written by `batchrun init` for {_on_one_line(Path(wish.data).name)}.",
        *_input(wish, table, cwd),
        "",
    ]
    if not table.requests:
        lines += [*_prompt(wish, table), "", *_schema(wish, table), "", *_request(wish), ""]
    return "\n".join([*lines, *_model(wish), ""])


def _input(wish: Wish, table: Table, cwd: Path) -> Iterator[str]:
    yield "input:"
    yield f"  path: {_value(_from_job(wish, cwd))}"
    if table.requests:
        yield f"  format: {OPENAI_BATCH}  # each row is a whole request, named by its custom_id"
    elif table.id is not None:
        yield f"  id: {_value(table.id)}  # names a row: its answer is found again wherever it stands"
    else:
        yield "  # id: COLUMN  # a column that names each row; without one, rows are matched by their request"
    if table.texts:
        named = table.texts[-1].replace('"', '""').replace("'", "''")
        yield f"  # where: '\"{named}\" IS NOT NULL'  # SQL: only rows for which it is true are run"
    yield "  # limit: 100  # only the first rows"


def _from_job(wish: Wish, cwd: Path) -> str:
    """The table's path as it is seen from the job file; an address in object storage is one from anywhere."""
    if is_remote(wish.data):
        return wish.data
    return os.path.relpath(cwd / Path(wish.data).expanduser(), (cwd / wish.out).parent)


def _prompt(wish: Wish, table: Table) -> Iterator[str]:
    yield "prompt:"
    if table.messages is not None:
        yield f"  messages_column: {_quoted(table.messages)}  # each row's own messages"
        return
    labels = ", ".join(table.labels or NO_LABELS)
    yield "  messages:"
    yield "    - role: system"
    yield "      content: >-"
    yield f"        {TASKS[wish.task].system.format(labels=labels)}"
    yield "    - role: user"
    yield _columns(table)
    yield "      content: |"
    names = [column_name(column, table.columns) for column in table.texts_for(wish.task)]
    yield "\n\n".join(f"        {{{{ {name} }}}}" for name in names)


def _columns(table: Table) -> str:
    shown = [column_name(column, table.columns) or _quoted(column) for column in table.columns]
    text = f"a minijinja template; columns: {', '.join(shown)}"
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent="      # ",
        subsequent_indent="      #   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _schema(wish: Wish, table: Table) -> Iterator[str]:
    task = TASKS[wish.task]
    typed = task.typed and table.messages is None
    quoted = ", ".join(map(_quoted, table.labels or NO_LABELS))
    yield "# A JSON Schema: answers are checked by it, asked for again, and become the typed column `parsed`."
    yield f"{'' if typed else '# '}schema: {task.schema.format(quoted=quoted)}".replace(": \n", ":\n")


def _request(wish: Wish) -> Iterator[str]:
    yield "request:  # any Chat Completions parameter; a value may be a template too"
    yield from TASKS[wish.task].parameters(wish.model)


def _model(wish: Wish) -> Iterator[str]:
    preset = PRESETS[wish.endpoint]
    if wish.endpoint == SIMULATOR:
        yield "# The simulator makes its answers up: change this to ENDPOINT/MODEL for real ones."
    elif preset.base_url is None:
        yield f"endpoints: {{{wish.endpoint}: {{base_url: {_quoted('https://HOST/v1')}}}}}  # yours"
    elif preset.api_key_env is None:
        yield f"# Served at {preset.base_url}; another address:"
        yield f"# endpoints: {{{wish.endpoint}: {{base_url: {_quoted(preset.base_url)}}}}}"
    if preset.api_key_env is not None:
        yield f"# The key is read from the variable {preset.api_key_env}."
    yield f"model: {_quoted(f'{wish.endpoint}/{wish.model}')}"
    if wish.model != ANY_MODEL:
        another = _quoted(f"{wish.endpoint}/ANOTHER-MODEL")
        yield f"# fallbacks: [{another}]  # asked where the first one cannot answer"
    cap = "tokens: 1000000" if preset.api_key_env is None else "cost_usd: 5"
    yield f"# budget: {{{cap}}}  # never passed: the run stops there, and goes on when it is raised"
    yield "# canary: 20  # so many rows first, and the rest only when few of them failed"
    yield "# checks: {failed: '<= 1%'}  # what the exit code 0 promises; without it no row may fail"
    yield "# output: {columns: none}  # without the input's columns in the results"


def _quoted(text: str) -> str:
    """A text that YAML reads as nothing else."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _value(text: str) -> str:
    """The same where `${` would name a variable: anywhere but in the prompt."""
    return _quoted(text.replace("${", "$${"))


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else _quoted(text)
