"""The messages of a job's prompt, with its message files read in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from batchrun.chat.request.message_models import AnyMessage
from batchrun.errors import JobError
from batchrun.job.checking.complaints import complaints
from batchrun.job.document.document import Document, read_document, read_whole
from batchrun.job.document.place import Problem
from batchrun.job.job import Job
from batchrun.job.sections.prompt import MessageFile

_FILE = "Name a file in UTF-8 below the job's folder; the path starts there."
_LIST = "A message file must be a list of messages, each with `role` and `content`."


@cache
def _messages() -> TypeAdapter[list[AnyMessage]]:
    return TypeAdapter(list[AnyMessage])  # built when the first message file is read


def read_messages(job: Job) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each message of the prompt as it is sent, its templates unrendered, with its place.

    Raises JobError when a message file lies outside the job's folder, or is no list of messages.
    """
    for index, item in enumerate(job.prompt.messages):
        if not isinstance(item, MessageFile):
            yield job.where("prompt", "messages", index), item.plain()
            continue
        for number, message in enumerate(_read(job, item, job.where("prompt", "messages", index, "file"))):
            yield f"{item.file}: message {number + 1}", message.plain()


def _read(job: Job, item: MessageFile, place: str) -> list[AnyMessage]:
    try:
        path = (job.folder / item.file).resolve()
    except RuntimeError as error:  # so Python 3.11 says that links lead in a circle
        raise JobError(
            f"{place}: {item.file} cannot be read: its links lead in a circle", hint=_FILE
        ) from error
    if not path.is_relative_to(job.folder.resolve()):
        raise JobError(
            f"{place}: {item.file} is not below the job's folder, {job.folder}",
            hint="Copy it there: a job is one folder, and reads no messages from elsewhere.",
        )
    try:
        text = read_whole(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise JobError(f"{place}: {item.file} cannot be read: {reason}", hint=_FILE) from error
    document = read_document(text)
    if document.problems:
        raise _wrong(item, document, document.problems[0])
    try:
        return _messages().validate_python(document.value)
    except ValidationError as error:
        first = next(complaints(error, document, root=list[AnyMessage]))
        raise _wrong(item, document, first) from error


def _wrong(item: MessageFile, document: Document, problem: Problem) -> JobError:
    loc = problem.loc
    known = (document.lines.get(loc[:length]) for length in range(len(loc), -1, -1))
    line = problem.line or next((found for found in known if found is not None), 1)
    return JobError(f"{item.file}:{line}: {problem.text}", hint=_LIST)
