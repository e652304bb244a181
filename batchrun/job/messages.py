"""The messages of a job's prompt, with its message files read in."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import TypeAdapter, ValidationError

from batchrun.errors import JobError
from batchrun.job.document import read_document
from batchrun.job.job import Job
from batchrun.job.models import Message, MessageFile
from batchrun.job.place import Loc, dotted

_MESSAGES = TypeAdapter(list[Message])


def read_messages(job: Job) -> Iterator[tuple[str, Message]]:
    """Each message of the prompt with its place, for messages about it.

    Raises JobError when a message file lies outside the job's folder, or is no list of messages.
    """
    for index, item in enumerate(job.prompt.messages):
        if isinstance(item, Message):
            yield job.where("prompt", "messages", index), item
            continue
        for number, message in enumerate(_read(job, item, job.where("prompt", "messages", index, "file"))):
            yield f"{item.file}: message {number + 1}", message


def _read(job: Job, item: MessageFile, place: str) -> list[Message]:
    path = (job.folder / item.file).resolve()
    if not path.is_relative_to(job.folder.resolve()):
        raise JobError(f"{place}: {item.file} is not below the job's folder, {job.folder}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise JobError(f"{place}: {item.file} cannot be read: {reason}") from error
    document = read_document(text)
    if document.problems:
        problem = document.problems[0]
        line = problem.line or document.lines.get(problem.loc)
        raise JobError(f"{item.file}:{line}: {problem.text}")
    try:
        return _MESSAGES.validate_python(document.value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc: Loc = tuple(first["loc"])
        line = next((document.lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in document.lines), 1)
        raise JobError(
            f"{item.file}:{line}: {dotted(loc) or 'the file'}: {first['msg']}",
            hint="A message file is a list of messages, each with `role` and `content`.",
        ) from error
