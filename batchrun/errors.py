"""Errors that end a command, each with the exit code the shell sees.

    BatchrunError                70  a bug in batchrun, when nothing below fits
    ├── UsageError                2  the command, or something it was given, is wrong
    │   ├── JobError              2  the job file: names file, line and key
    │   ├── InputError            2  the prompt table: missing file, duplicate ids, unreadable format
    │   └── RunFolderError        2  the run folder: another job's, not a folder of ours, not writable
    ├── StorageError              3  the disk is full or failing; the run can be continued
    │   ├── ObjectStorageError    3  object storage does not answer (2: refuses)
    │   ├── OpenFilesError        3  the process may open no more files
    │   └── RunFolderLostError    3  the run folder was removed or replaced while the run was going
    ├── EndpointError             3  an endpoint does not answer (4: refuses the key, 2: what is asked)
    ├── RunLockedError            5  another submit holds the run folder
    │   └── LeaseLostError        5  another submit has taken over the run in object storage
    └── ChangedRowsError          6  finished rows would be paid for again: the user chooses

A failed row is data (`outcome.Failed`), never one of these: an exception means that
the run cannot go on.
"""

from __future__ import annotations


class BatchrunError(Exception):
    """Base of all errors a command ends with; `hint` says what to do next."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(BatchrunError):
    """The command line, the environment or a file it names is wrong."""

    exit_code = 2


class JobError(UsageError):
    """The job file is wrong; the message starts with `file:line: key:`."""


class InputError(UsageError):
    """The prompt table cannot be used as a whole (a single bad row is data instead)."""


class RunFolderError(UsageError):
    """The run folder belongs to something else, or cannot be used."""


class BudgetExhaustedError(BatchrunError):
    """The budget does not hold another call: the run stops, and can be continued."""

    exit_code = 3


class StorageError(BatchrunError):
    """The disk refused a write; what was appended before it is kept and the run can be continued."""

    exit_code = 3


class ObjectStorageError(StorageError):
    """Object storage refuses a request, or does not answer.

    `refused`: it will do so again until somebody changes a name or a permission, so the exit code is that of
    a wrong command. Its message holds nothing of an answer but the server's code: answers to a refused
    signature quote the credentials.
    """

    def __init__(self, message: str, *, hint: str | None = None, refused: bool = False) -> None:
        super().__init__(message, hint=hint)
        if refused:
            self.exit_code = UsageError.exit_code


class EndpointError(BatchrunError):
    """An endpoint does not answer, or refuses a request that is none for a completion.

    `exit_code`: 3 where the same request may go well later, 4 where the key is refused, 2 where it will be
    refused again.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 3) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class OpenFilesError(StorageError):
    """The process, or the machine, may open no more files and connections."""


class RunFolderLostError(StorageError):
    """The run folder is not where it was, so that nothing may be written under its name any more."""


class RunLockedError(BatchrunError):
    """Another submit is running on the same run folder."""

    exit_code = 5


class LeaseLostError(RunLockedError):
    """Another submit has taken over a run in object storage: nothing more may be sent or published here."""


class ChangedRowsError(BatchrunError):
    """An edit would make finished rows be paid for again, and nothing said what to do about them."""

    exit_code = 6


def cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a task group; others in it follow from the first."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
