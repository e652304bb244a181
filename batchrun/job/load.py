"""A job file to a `Job`: read, changed by the shell, checked, resolved."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchrun.errors import JobError
from batchrun.job.checking.check import check
from batchrun.job.document.document import KEPT, WRITTEN, Bounds, Document, read_document
from batchrun.job.document.override import SCHEMA, apply_set, is_class, replace
from batchrun.job.document.place import Loc, Places, Problem
from batchrun.job.endpoints import Endpoint, limits_of, resolve
from batchrun.job.job import Job, ModelChoice
from batchrun.job.sections.checks import Check
from batchrun.job.sections.file import JobFile
from batchrun.job.sections.prompt import Request
from batchrun.job.sections.rows import Input, Output, RunTools, usual_id
from batchrun.job.sections.serving import EndpointSpec, ModelSpec
from batchrun.storage import Address, copy_path, is_remote

_JOBS = (".yaml", ".yml", ".json")

_NO_FILE = "Name a job file (.yaml) that you may read, or write one with `batchrun init TABLE`."


def load_job(
    path: Path,
    *,
    sets: Sequence[str] = (),
    name: str | None = None,
    model: str | None = None,
    env: Mapping[str, str],
    cwd: Path,
    folder: Path | None = None,
) -> Job:
    """Read the job file at `path`, a path from `cwd`, as the options of the shell change it.

    Args:
        sets: `a.b=c`, each as `--set` takes it, applied in order.
        name: `--name`: the run's name and folder.
        model: `--model`: replaces the job's `model`.
        env: the environment, for `${VAR}` and OPENAI_BASE_URL.
        folder: where the paths in the file start, which is then a run folder's copy of a job; default: the
            file's own folder.

    Raises JobError with every problem found, one a line, each with its place.
    """
    document = _read(cwd / path, str(path), WRITTEN if folder is None else KEPT)
    if isinstance(document.value, dict):
        _override(document, sets, name, model, cwd)
    places = Places(str(path), document.lines, document.shell)
    job_path = (cwd / path).parent.resolve() / path.name
    checked = check(document, stem=job_path.stem, env=env)
    if checked.file is None or checked.problems:
        raise JobError(places.report(checked.problems), hint=_if_table(path))
    paths = Paths(folder or job_path.parent, cwd, env, places)
    return _job(job_path, checked.file, document, paths, env, renamed=name is not None)


def _read(path: Path, shown: str, bounds: Bounds) -> Document:
    try:
        with path.open("rb") as file:
            data = file.read(bounds.bytes + 1)
    except OSError as error:
        raise JobError(f"{shown}: cannot be read: {error.strerror}", hint=_NO_FILE) from error
    if len(data) > bounds.bytes:
        raise JobError(
            f"{shown}: larger than {bounds.bytes:,} bytes",
            hint=_if_table(Path(shown)) or "is this the prompt table? Name it in a job file's input.path",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JobError(
            f"{shown}:{line}: not UTF-8 text: byte {data[error.start]:#04x}",
            hint=_if_table(Path(shown)) or "Save the file as UTF-8.",
        ) from None
    document = read_document(text, bounds=bounds)
    if not document.problems and not isinstance(document.value, dict):
        document.problems.append(Problem((), _no_mapping(document.value)))
    return document


def _if_table(path: Path) -> str | None:
    """What to do with a file that is called like a prompt table; None for one called like a job."""
    if path.suffix in _JOBS:
        return None
    return f"If this is the prompt table, `batchrun init {shlex.quote(str(path))}` writes a job file for it."


def _no_mapping(value: Any) -> str:
    if value is None:
        return "the job file is empty. `batchrun init` writes one to begin with."
    return "a job file must be a mapping of keys, `key: value` a line, with a space after the colon."


def _override(
    document: Document, sets: Sequence[str], name: str | None, model: str | None, cwd: Path
) -> None:
    for text in sets:
        apply_set(document, text, cwd)
    if model is not None:
        replace(document, "model", model, f"--model {model}")
    if name is not None:
        replace(document, "name", name, f"--name {name}")


@dataclass(frozen=True, slots=True)
class Paths:
    """Makes the paths of a job absolute."""

    folder: Path
    cwd: Path
    env: Mapping[str, str]
    places: Places

    def absolute(self, loc: Loc, text: str) -> Path:
        """The path at `loc`: from the job's folder, or from the shell's where the shell gave it."""
        if text.startswith("~/") and (home := self.env.get("HOME")):
            text = f"{home}{text[1:]}"
        base = self.cwd if self.places.from_shell(loc) else self.folder
        return Path(os.path.normpath(base / text))

    def spelled(self, loc: Loc, text: str) -> str:
        """The path at `loc`, left as the job spells it where that is from the job's folder."""
        kept = not self.places.from_shell(loc) and not text.startswith("~/")
        return text if kept or is_remote(text) else str(self.absolute(loc, text))

    def output(self, output: Output, name: str, *, renamed: bool) -> tuple[Path, Address | None]:
        """The run folder, and of which run in object storage it is the local copy.

        `--name` moves both beside what the job file names.
        """
        loc = ("output", "path")
        beside = renamed and not self.places.from_shell(loc)
        if output.path is None:
            above = self.folder.parent if self.folder.name == "jobs" else self.folder
            return above / "runs" / name, None
        if is_remote(output.path):
            place = Address.parse(output.path)
            place = place.parent.below(name) if beside else place
            return self.local_copy(place, output.local_path), place
        path = self.absolute(loc, output.path)
        return (path.parent / name if beside else path), None

    def local_copy(self, place: Address, given: str | None) -> Path:
        """Where a run in object storage is worked on."""
        below = None if given is None else self.absolute(("output", "local_path"), given)
        return copy_path(place, self.env, below=below)


def _job(
    path: Path, file: JobFile, document: Document, paths: Paths, env: Mapping[str, str], *, renamed: bool
) -> Job:
    name = file.name or path.stem
    models = tuple(_choice(model, file.request) for model in (file.model, *file.fallbacks))
    output_path, output_address = paths.output(file.output, name, renamed=renamed)
    specs = {**{model.endpoint: EndpointSpec() for model in models}, **file.endpoints}
    return Job(
        path=path,
        folder=paths.folder,
        name=name,
        input=_input(file, paths),
        media_root=_media_root(file, paths),
        prompt=file.prompt,
        answer_schema=_answer_schema(file, paths),
        run_tools=_run_tools(file, paths),
        models=models,
        fallback_on=frozenset(file.fallback_on),
        fail_on=frozenset(file.fail_on),
        endpoints={key: _endpoint(key, spec, paths, env) for key, spec in specs.items()},
        retry=file.retry,
        stop_when=file.stop_when,
        checks=tuple(Check(*given) for given in file.checks.items()),
        canary=file.canary,
        dedupe=file.dedupe,
        order=file.order,
        tail=file.tail,
        budget=file.budget,
        prices=file.prices,
        output=file.output,
        engine=file.engine,
        finish_by=file.finish_by,
        output_path=output_path,
        output_address=output_address,
        document=document.value,
        places=paths.places,
    )


def _choice(model: str | ModelSpec, request: Request) -> ModelChoice:
    spec = ModelSpec(model=model) if isinstance(model, str) else model
    endpoint, _, name = spec.model.partition("/")
    spelled = {**request.spelled(), **spec.request.spelled()}
    return ModelChoice(
        spec.model,
        endpoint,
        name,
        limits_of(spec.limits),
        parameters={key: value for key, value in spelled.items() if value is not None},
        removed=frozenset(key for key, value in spelled.items() if value is None),
    )


def _input(file: JobFile, paths: Paths) -> Input:
    """The input with its path, and with the id that rows of its format have."""
    given = {"path": file.input.path, "run": file.input.run}
    own = {key: paths.spelled(("input", key), text) for key, text in given.items() if text is not None}
    usual = usual_id(file.input.format, file.input.run)
    return file.input.model_copy(update={**own, "id": file.input.id or usual})


def _media_root(file: JobFile, paths: Paths) -> Path | None:
    given = file.input.media_root
    return None if given is None else paths.absolute(("input", "media_root"), given)


def _answer_schema(file: JobFile, paths: Paths) -> str | Mapping[str, Any] | None:
    given = file.answer_schema
    if not isinstance(given, str) or is_class(given):
        return given
    return paths.spelled(SCHEMA, given)


def _run_tools(file: JobFile, paths: Paths) -> RunTools | None:
    given = file.run_tools
    if given is None:
        return None
    return given.model_copy(update={"module": paths.spelled(("run_tools", "module"), given.module)})


def _endpoint(name: str, spec: EndpointSpec, paths: Paths, env: Mapping[str, str]) -> Endpoint:
    loc = ("endpoints", name, "ca_file")
    ca_file = paths.absolute(loc, spec.ca_file) if spec.ca_file else None
    return resolve(name, spec, env=env, ca_file=ca_file)
