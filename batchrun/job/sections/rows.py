"""The job file's sections on where rows come from, which functions are run, and where results go."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from batchrun.job.document.place import Loc, WrongPartsError
from batchrun.job.sections.fields import (
    ColumnType,
    Count,
    Flag,
    PositiveDuration,
    Section,
    Text,
    Whole,
    typed,
)
from batchrun.storage import Address, is_remote

OPENAI_BATCH = "openai-batch"
"""The format whose rows are whole requests: {custom_id, method, url, body}."""


def usual_id(form: Any, run: Any) -> str | None:
    """The column that names rows where the job names none, by `input.format` and `input.run`."""
    return "row_id" if run is not None else "custom_id" if form == OPENAI_BATCH else None


def _address(text: str) -> str:
    if is_remote(text):
        Address.parse(text)
    return text


def _on_this_machine(text: str) -> str:
    if is_remote(text):
        raise ValueError("must be a folder of this machine: media are read from there alone")
    return text


Place: TypeAlias = Annotated[Text, AfterValidator(_address)]
"""A path, or an address in object storage."""


MOST_LINES = 100_000
MOST_BYTES = 200_000_000
"""What one batch may have at any provider that is known: Azure takes 100,000 lines, others 50,000."""


def _window(text: str) -> str:
    if not re.fullmatch(r"[0-9]+[hd]", text):
        raise ValueError("must be hours or days, as 24h or 7d")
    return text


class Sample(Section):
    """Rows drawn from the input, the same ones however often it is read."""

    rows: Count
    """How many rows."""
    seed: Whole = 0
    """Another number draws other rows."""


class Input(Section):
    """The prompt table."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["path"]}, {"required": ["run"]}]})

    path: Place | None = None
    """A file, a glob or a folder of JSONL, CSV (both also .gz, .zst) or Parquet, from the job's folder; or an
    address in object storage: s3://, gs:// or az://."""
    run: Place | None = None
    """A run folder in place of a file, from the job's folder: the rows that are ok there, by their input
    columns, and `previous`, a struct of what was answered: completion, parsed, reasoning, and so on."""
    format: Literal["jsonl", "csv", "parquet", "openai-batch"] | None = None
    """Default: told by the file's suffix. openai-batch: JSONL of whole requests, as OpenAI's batches take."""
    id: Text | None = None
    """The column that names a row; without it rows are matched to earlier answers by their request. Rows of
    another run keep the ids that they have there."""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    """Column to type, where the type found in the rows is not the one that is wanted."""
    where: Text | None = None
    """A SQL predicate over the columns: only rows for which it is true are run."""
    limit: Count | None = None
    """Only the first rows of the input."""
    sample: Sample | None = None
    """A sample of the input in place of its first rows."""
    media_root: Annotated[Text, AfterValidator(_on_this_machine)] | None = None
    """The only folder that images, audio and files may be read from, from the job's folder."""

    @model_validator(mode="after")
    def _limit_or_sample(self) -> Self:
        if self.limit is not None and self.sample is not None:
            raise WrongPartsError([(("sample",), "excludes input.limit: keep one of the two")])
        return self

    @model_validator(mode="after")
    def _path_or_run(self) -> Self:
        if self.path is None and self.run is None:
            about = "A file, a glob or a folder; or input.run, another job's run folder"
            raise WrongPartsError([(("path",), f"is required and missing. {about}")])
        if self.run is not None:
            beside = {"path": "keep one of the two", "format": "its results have one"}
            text = "has no place beside input.run"
            given = [key for key in beside if getattr(self, key) is not None]
            WrongPartsError.raise_any([((key,), f"{text}: {beside[key]}") for key in given])
        return self

    @property
    def place(self) -> str:
        """Where the rows come from, as the job spells it."""
        return self.path or self.run or ""


_OF_KIND = {
    "ray": ("address", "workers", "cpus"),
    "provider_batch": ("completion_window", "poll", "max_lines", "max_bytes", "enqueued_tokens", "leftovers"),
}
"""Which keys of `engine` are for one kind alone."""


class Engine(Section):
    """Where calls are made."""

    kind: Literal["local", "ray", "provider_batch"] = "local"
    """local: by this process. ray: by workers on a Ray cluster (pip install batchrun[ray]). provider_batch:
    by the endpoint's own batch API, within a day and at about half the price."""
    address: Text = "auto"
    """Of the cluster: auto (the one this machine is part of), local (one that is started here), HOST:PORT."""
    workers: Count = 8
    """How many."""
    cpus: Annotated[float, Field(gt=0, le=1024), BeforeValidator(typed)] = 1.0
    """What each is counted as when Ray places it; half a processor is enough for 500 rows/s or so."""

    completion_window: Annotated[
        Text, AfterValidator(_window), Field(json_schema_extra={"pattern": "^[0-9]+[hd]$"})
    ] = "24h"
    """Within what time the provider is to answer a batch; OpenAI knows 24h alone."""
    poll: PositiveDuration = 60.0
    """How often it is looked at batches under way."""
    max_lines: Annotated[Count, Field(le=MOST_LINES)] = 50_000
    """Requests in one batch."""
    max_bytes: Annotated[Count, Field(le=MOST_BYTES)] = 190_000_000
    """Bytes of one batch's file; OpenAI takes up to 200,000,000."""
    enqueued_tokens: Count | None = None
    """Tokens of prompts that may be with the provider at once, in all batches of a model: its quota. Without
    it, a batch that the provider refuses for that waits until others are done."""
    leftovers: Literal["batch", "realtime"] = "batch"
    """How rows are asked again that expired or failed in a batch, or need a further answer: in the next
    batch, or at once at the full price."""

    @model_validator(mode="after")
    def _of_kinds(self) -> Self:
        wrong: list[tuple[Loc, str]] = [
            ((key,), f"is for kind: {kind}")
            for kind, keys in _OF_KIND.items()
            for key in keys
            if key in self.model_fields_set and kind != self.kind
        ]
        WrongPartsError.raise_any(wrong)
        return self

    @property
    def by_batch(self) -> bool:
        """Whether rows go by a provider's batches."""
        return self.kind == "provider_batch"


class RunTools(Section):
    """Python functions that the model may call, and that are run."""

    module: Text
    """A Python file, from the job's folder."""
    functions: tuple[Text, ...] = Field(min_length=1)
    """The names of its functions; their type hints and docstrings describe them to the model."""
    max_turns: Count = 5
    """Most rounds of calls in a row."""


def _columns_kind(value: Any) -> str:
    return "<names>" if isinstance(value, list | tuple) else "<word>"


def _columns_word(value: Any) -> Any:
    if value not in ("all", "none"):
        raise ValueError("must be all, none, or a list of columns")
    return value


Columns: TypeAlias = Annotated[
    Annotated[Literal["all", "none"], BeforeValidator(_columns_word), Tag("<word>")]
    | Annotated[tuple[Text, ...], Tag("<names>")],
    Discriminator(_columns_kind),
]


class Output(Section):
    """The run folder and what its results hold."""

    path: Place | None = None
    """Default: runs/NAME in the job's folder, or beside it when that folder is called jobs. Or an address in
    object storage, s3://BUCKET/PATH, gs:// or az://: the run can then be continued from any machine."""
    local_path: Text | None = None
    """Where runs in object storage are worked on, a folder of this machine in which each has one of its own.
    Default: ~/.local/state/batchrun."""
    columns: Columns = "all"
    """Input columns carried into the results: all, none, or a list of names."""
    messages: Flag = False
    """true: keep the rendered messages as a column."""
    raw: Flag = False
    """true: keep the raw request and response as columns."""

    @model_validator(mode="after")
    def _local_copy(self) -> Self:
        if self.path is None or not is_remote(self.path):
            if self.local_path is not None:
                text = "is for a run in object storage: its output.path begins with s3://, gs:// or az://"
                raise WrongPartsError([(("local_path",), text)])
        elif not Address.parse(self.path).key:
            raise WrongPartsError([(("path",), "names a bucket alone: a run needs a path in it")])
        if self.local_path is not None and is_remote(self.local_path):
            raise WrongPartsError([(("local_path",), "must be a folder of this machine")])
        return self
