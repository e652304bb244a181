"""Where stored completions lie and which of them are meant, as the command line says it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from batchrun.cli.options import ENV_FILE, NAME, SETS, JobArguments, PathOrAddress, Verb
from batchrun.errors import UsageError
from batchrun.storage.address import is_remote

if TYPE_CHECKING:
    from batchrun.stored import Filters, Place

_JOBS = (".yaml", ".yml", ".json")

_ENDPOINT = click.option(
    "--endpoint",
    metavar="NAME",
    help="Another endpoint of the job; without JOB a preset (openai, …) or a base URL.",
)
_API_KEY_ENV = click.option(
    "--api-key-env", metavar="NAME", help="Without JOB: the variable that holds the key."
)
_MODEL = click.option(
    "--model", metavar="MODEL", help="Those that this model gave, as the endpoint names it."
)
_METADATA = click.option(
    "--metadata",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Those with this label; of several, with all.",
)
_ORDER = click.option(
    "--order", type=click.Choice(["asc", "desc"]), help="Oldest first, or newest. Default: asc"
)
_AFTER = click.option("--after", metavar="ID", help="Go on after this one.")
_ALL = click.option("--all", "of_all", is_flag=True, help="With JOB: also those of other runs.")


@dataclass(frozen=True, slots=True)
class StoredArguments:
    """Which endpoint is meant: of a job, or by its name."""

    job: JobArguments | None
    endpoint: str | None
    api_key_env: str | None
    env_file: Path | None

    def environment(self) -> Mapping[str, str]:
        """As `JobArguments.environment`."""
        return (self.job or JobArguments(Path(), env_file=self.env_file)).environment()

    def place(self) -> Place:
        """The endpoint. Raises JobError, RunFolderError, and UsageError where none is named."""
        from batchrun.stored import place_named, place_of_job

        if self.job:
            if self.api_key_env:
                raise UsageError(
                    "--api-key-env is for an --endpoint without a job",
                    hint="Leave it out: the job names the variable in endpoints.NAME.api_key_env.",
                )
            return place_of_job(self.job.load_any(), self.endpoint)
        if not self.endpoint:
            raise UsageError(
                "whose stored completions are meant is not said",
                hint="Name a job file or a run folder, or --endpoint: a preset (openai, …) or a base URL.",
            )
        return place_named(self.endpoint, self.api_key_env, self.environment())

    def run_id(self) -> str:
        """By which the run's own completions are known. Raises RunFolderError, UsageError."""
        if self.job is None:
            raise UsageError(
                "--run is for the completions of a job's run, and no job is named",
                hint="Name a job file or a run folder first: batchrun stored delete job.yaml --run",
            )
        from batchrun.run_folder.diagnosis import reading

        run = self.job.run()
        with reading(run):
            return run.run_id


@dataclass(frozen=True, slots=True)
class FilterArguments:
    """Which completions are meant."""

    model: str | None
    pairs: tuple[str, ...]
    order: Literal["asc", "desc"] | None
    after: str | None
    of_all: bool

    def filters(self, arguments: StoredArguments) -> Filters:
        """With the stamp of the job's run, where a job is named. Raises as `StoredArguments.run_id`."""
        from batchrun.chat.stamps import RUN
        from batchrun.stored import Filters, pairs_of

        pairs = pairs_of(self.pairs)
        if arguments.job and not self.of_all:
            pairs = {RUN: arguments.run_id(), **pairs}
        return Filters(self.model, pairs, self.order, self.after)


def stored_options(metavar: str) -> Callable[[Verb], Verb]:
    """Give a command the endpoint, as StoredArguments, and the `words` after JOB; `metavar` shows these."""

    def given(verb: Verb) -> Verb:
        argument = click.argument("words", nargs=-1, metavar=f"[JOB] {metavar}".strip())
        command: Verb = _gathered(verb)
        for parameter in (ENV_FILE, NAME, SETS, _API_KEY_ENV, _ENDPOINT, argument):
            command = parameter(command)
        return command

    return given


def filter_options(verb: Verb) -> Verb:
    """Give a command the choice of completions, as FilterArguments."""

    @wraps(verb)
    def gathered(
        *,
        model: str | None,
        pairs: tuple[str, ...],
        order: Literal["asc", "desc"] | None,
        after: str | None,
        of_all: bool,
        **others: Any,
    ) -> int | None:
        return verb(chosen=FilterArguments(model, pairs, order, after, of_all), **others)

    command: Verb = gathered
    for parameter in (_ALL, _AFTER, _ORDER, _METADATA, _MODEL):
        command = parameter(command)
    return command


def _gathered(verb: Verb) -> Verb:
    @wraps(verb)
    def gathered(
        *,
        words: tuple[str, ...],
        sets: tuple[str, ...],
        name: str | None,
        env_file: Path | None,
        endpoint: str | None,
        api_key_env: str | None,
        **others: Any,
    ) -> int | None:
        job = None
        if words and _names_job(words[0]):
            job = JobArguments(PathOrAddress().convert(words[0], None, None), sets, name, env_file=env_file)
            words = words[1:]
        elif sets or name:
            raise UsageError(
                f"{'--set' if sets else '--name'} changes a job, and none is named",
                hint="Name a job file (.yaml) first, or leave the option out.",
            )
        arguments = StoredArguments(job, endpoint, api_key_env, env_file)
        return verb(arguments=arguments, words=words, **others)

    return gathered


def _names_job(word: str) -> bool:
    """Whether the first word is a job file or a run, and no id: ids are no files."""
    return is_remote(word) or word.endswith(_JOBS) or os.path.isdir(word)  # noqa: PTH112 - no error for long names


def one_word(words: tuple[str, ...], what: str) -> str:
    """The only word that is to be left. Raises UsageError."""
    if len(words) != 1:
        said = (
            f"{len(words)} words, where one is wanted: {' '.join(words)}" if words else f"{what} is missing"
        )
        raise UsageError(said, hint=f"Write `[JOB] {what}`: JOB is a job file (.yaml) or a run folder.")
    return words[0]


def no_word(words: tuple[str, ...]) -> None:
    """Raise UsageError where there is a word that means nothing."""
    if words:
        raise UsageError(
            f"{words[0]}: no job file and no run folder",
            hint="Name a job file (.yaml) or a run folder; an endpoint is named by --endpoint.",
        )
