"""Options that several verbs share, and what they mean together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchrun.cli.asked import remember_json
from batchrun.cli.help import Explained
from batchrun.cli.text import command_line
from batchrun.errors import UsageError
from batchrun.storage.address import Address, copy_path, is_remote

if TYPE_CHECKING:
    from batchrun.job import Job, ModelChoice
    from batchrun.run_folder.folder import RunFolder

Verb = Callable[..., int | None]

as_json = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,  # read before the others: an error of theirs is told in JSON
    callback=remember_json,
    help="Print JSON to stdout, for programs.",
)

SETS = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the job: request.temperature=0.5",
)
NAME = click.option("--name", metavar="NAME", help="Another name, and so another run folder.")
_MODEL = click.option("--model", metavar="ENDPOINT/MODEL", help="Another model than the job's.")
out_file = partial(click.option, "--out", type=click.Path(path_type=Path), metavar="FILE")
"""Where a verb writes to; its help is the verb's own, as that of the next."""
at_most = partial(click.option, "--limit", type=click.IntRange(min=1), metavar="N")
ENV_FILE = click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read variables (API keys) from this file of NAME=value lines.",
)


class PathOrAddress(click.Path):
    """A path, or the address of a run in object storage."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        found = path_or_address(value)
        return found if isinstance(found, Address) else super().convert(value, param, ctx)


def path_or_address(value: str | os.PathLike[str]) -> Path | Address:
    """What a text means. Raises UsageError."""
    if isinstance(value, str) and is_remote(value):
        try:
            return Address.parse(value)
        except ValueError as error:
            raise UsageError(f"{value}: {error}", hint="Name a job file (.yaml) or a run.") from None
    return Path(value)


@dataclass(frozen=True, slots=True)
class JobArguments:
    """Which job is meant, and what the shell changes in it."""

    path: Path | Address
    sets: tuple[str, ...] = ()
    name: str | None = None
    model: str | None = None
    env_file: Path | None = None

    def environment(self) -> Mapping[str, str]:
        """The environment, with the variables of `--env-file` where it does not set them."""
        from batchrun.job import read_env_file

        return {**(read_env_file(self.env_file) if self.env_file else {}), **os.environ}

    def load(self, *, with_model: bool = True) -> Job:
        """The job as the options change it. Raises JobError, and UsageError for a folder."""
        from batchrun.job import load_job

        if isinstance(self.path, Address) or self.names_run:
            raise UsageError(
                f"{self.path} is {'a run' if isinstance(self.path, Address) else 'a folder'}: a job file is "
                "needed here",
                hint="Name the job file (.yaml) itself. "
                "Run folders are for status, pause, resume, show, export, report, diff and stored.",
            )
        return load_job(
            self.path,
            sets=self.sets,
            name=self.name,
            model=self.model if with_model else None,
            env=self.environment(),
            cwd=Path.cwd(),
        )

    def load_to_submit(self, *, retrying: bool) -> tuple[Job, ModelChoice | None]:
        """The job, and the model that only its failed rows go to, where they are asked again and `model` is
        for them. Raises as `load`."""
        if self.model is None or not retrying:
            return self.load(), None
        job, other = self.load(with_model=False), self.load()
        return replace(job, endpoints={**other.endpoints, **job.endpoints}), other.models[0]

    def load_any(self) -> Job:
        """The job as the options change it; of a run folder, the job as it was submitted there last.

        Raises JobError, and RunFolderError for a folder that holds no run.
        """
        self._require()
        if not self.names_run:
            return self.load()
        from batchrun.job.snapshot import load_submitted

        kept = self.run().job_yaml
        return load_submitted(kept, sets=self.sets, env=self.environment(), cwd=Path.cwd())

    def run(self) -> RunFolder:
        """The run folder that is meant: that of the job, or the folder itself; of a run in object storage
        its local copy, brought up to date.

        Raises JobError, RunFolderError when there is no run, and ObjectStorageError.
        """
        from batchrun.run_folder.diagnosis import reading

        run = self._run()
        with reading(run):
            run.require()
        return run

    def _run(self) -> RunFolder:
        from batchrun.run_folder.folder import RunFolder

        place, folder = self.place()
        if place is None:
            return RunFolder(folder)
        from batchrun.remote.reading import open_copy

        return open_copy(place, folder, say=lambda text: click.echo(text, err=True))

    def working(self) -> RunFolder:
        """The run folder in which a submit of this machine may be at work: nothing is fetched.

        Raises as `run`, and UsageError where nobody works on a run in object storage here.
        """
        from batchrun.run_folder.folder import RunFolder
        from batchrun.run_folder.lock import is_locked

        place, folder = self.place()
        if place is None:
            return self.run()
        run = RunFolder(folder)
        if not is_locked(run.lock):
            raise UsageError(
                f"no submit of this machine is running on {place}",
                hint="`batchrun status` says where one runs: it is paused and resumed there.",
            )
        return run

    def place(self) -> tuple[Address | None, Path]:
        """Where the run is kept in object storage, None for one of this machine; and its run folder here."""
        self._require()
        if isinstance(self.path, Address):
            return self.path, copy_path(self.path, self.environment())
        if self.names_run:
            return None, self.path.resolve()
        job = self.load()
        return job.output_address, job.output_path

    @property
    def names_run(self) -> bool:
        """Whether a run itself is named, not its job file."""
        # gives no error for a name that is too long
        return isinstance(self.path, Address) or os.path.isdir(self.path)  # noqa: PTH112

    def _require(self) -> None:
        if isinstance(self.path, Address):
            return
        if not os.path.exists(self.path):  # noqa: PTH110 - gives no error for a name that is too long
            raise UsageError(
                f"{self.path}: no such file or folder", hint="Name a job file (.yaml) or a run folder."
            )

    def again(self, verb: str, *options: str) -> str:
        """The command line of another verb on the same job."""
        sets = [word for text in self.sets for word in ("--set", text)]
        name = ["--name", self.name] if self.name else []
        model = ["--model", self.model] if self.model and verb in ("submit", "plan", "reparse", "gc") else []
        env_file = ["--env-file", str(self.env_file)] if self.env_file else []
        return command_line(verb, str(self.path), *name, *sets, *model, *env_file, *options)


def job_options(verb: Verb) -> Verb:
    """Give a verb the job file and what the shell changes in it, as JobArguments."""
    argument = click.argument("job", type=PathOrAddress())
    return _gathered(verb, [argument, SETS, NAME, _MODEL, ENV_FILE])


def run_options(verb: Verb) -> Verb:
    """Give a verb that reads a run the job file or run folder, as JobArguments."""
    argument = click.argument("job", metavar="JOB_OR_FOLDER", type=PathOrAddress())
    return _gathered(verb, [argument, SETS, NAME, ENV_FILE])


def runs_options(verb: Verb) -> Verb:
    """Give a verb that reads several runs their job files or run folders, as JobArguments of each."""

    @wraps(verb)
    def gathered(*, jobs: tuple[Path | Address, ...], env_file: Path | None, **others: Any) -> int | None:
        return verb([JobArguments(job, env_file=env_file) for job in jobs], **others)

    argument = click.argument("jobs", metavar="A B [C]...", nargs=-1, type=PathOrAddress())
    command: Verb = argument(ENV_FILE(gathered))
    return command


def _gathered(verb: Verb, parameters: list[Callable[[Verb], Verb]]) -> Verb:
    @wraps(verb)
    def gathered(
        *,
        job: Path | Address,
        sets: tuple[str, ...],
        name: str | None,
        env_file: Path | None,
        model: str | None = None,
        **others: Any,
    ) -> int | None:
        return verb(JobArguments(job, sets, name, model, env_file), **others)

    command: Verb = gathered
    for parameter in reversed(parameters):
        command = parameter(command)
    return command


class OptionalValues(Explained):
    """A command with options whose value may be left out, as `--failed` or `--failed=TYPE`.

    As GNU tools have it, such a value stands after an equals sign: the next word never is it, so
    `--failed JOB` means what it says.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        optional = {name for p in self.params if p.metavar == TYPES for name in p.opts}
        end = args.index("--") if "--" in args else len(args)
        given = [f"{word}=" if word in optional else word for word in args[:end]]
        return super().parse_args(ctx, given + args[end:])


TYPES = "[=TYPE,…]"
"""The metavar of an option of error types that may be left out."""


def error_types(text: str | None, option: str, known: frozenset[str]) -> frozenset[str]:
    """The error types in the value of an option; `known` when it names none, nothing without the option.

    Raises UsageError for a type that is not `known`, with the nearest spelling.
    """
    if text is None:
        return frozenset()
    named = [word.strip() for word in text.split(",") if word.strip()]
    return known_types(named, option, known) or known


def known_types(named: Iterable[str], option: str, known: frozenset[str]) -> frozenset[str]:
    """The error types that are named. Raises as `error_types`."""
    from batchrun.job.checking.known import did_you_mean

    types = frozenset(named)
    for word in sorted(types):
        if word not in known:
            raise UsageError(
                f"{option}: {word!r} is not one of the error types it takes.{did_you_mean(word, known)}",
                hint=f"Known here: {', '.join(sorted(known))}",
            )
    return types
