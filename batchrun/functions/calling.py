"""Calls of functions: the model's arguments in, text for the model out."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio.lowlevel
from anyio import CapacityLimiter
from pydantic import BaseModel, ValidationError

from batchrun.functions.result import ERROR, as_error, as_text
from batchrun.functions.signature import arguments
from batchrun.functions.threads import run_in_thread

_THREADS = 40
"""Functions that run at once, beside the threads that the journal uses."""

_ERRORS = 3
"""Mistakes in arguments that are told."""


class WrongArgumentsError(ValueError):
    """Arguments that do not fit the function; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model may call.

    `definition` is the tool as the API takes it, `model` validates the arguments.
    """

    name: str
    definition: dict[str, Any]
    model: type[BaseModel]
    target: Callable[..., Any]

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(inspect.unwrap(self.target))

    def run(self, text: str) -> Any:
        """Call with arguments as JSON. Gives what the function gives; of an async one, the coroutine.

        Raises WrongArgumentsError, and whatever the function raises.
        """
        return self.target(**arguments(self.target, self._read(text)))

    def run_to_text(self, text: str) -> Any:
        """`run`, with the result as text unless it is still to be awaited."""
        result = self.run(text)
        return result if inspect.isawaitable(result) else as_text(result)

    def _read(self, text: str) -> BaseModel:
        try:
            return self.model.model_validate_json(text.strip() or "{}")  # some servers send none at all
        except ValidationError as error:
            raise WrongArgumentsError(f"wrong arguments for {self.name}: {_mistakes(error)}") from error


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of a job, by what a model needs to know of them and by name."""

    functions: tuple[Function, ...]
    hide: Callable[[str], str] = field(default=str, compare=False)
    """Takes out of a result, which is sent to the model and kept, what must not be: an API key."""
    _limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_THREADS), compare=False)

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools as a request carries them, in the job's order."""
        return [function.definition for function in self.functions]

    async def call(self, name: str, arguments: str) -> str:
        """Call a function with arguments as JSON text, and give its result as text.

        An async function is awaited here; any other one runs in a worker thread. A thread cannot be
        ended: when the call is cancelled its function runs on, at most until the process ends, and its
        result is dropped. Errors are text as well (`Error: …`, one line): an unknown name, wrong
        arguments, whatever the function raises. Only KeyboardInterrupt ends the run.
        """
        return self.hide(await self._called(name, arguments))

    @staticmethod
    def is_error(result: str) -> bool:
        """Whether a result of `call` tells of an error."""
        return result.startswith(ERROR)

    async def _called(self, name: str, arguments: str) -> str:
        function = next((item for item in self.functions if item.name == name), None)
        if function is None:
            known = ", ".join(item.name for item in self.functions)
            return as_error(f"there is no function {name!r}. Functions: {known}")
        try:
            return await self._result(function, arguments)
        except WrongArgumentsError as error:
            return as_error(str(error))
        except (Exception, SystemExit) as error:  # a user's function may raise anything
            return as_error(f"{type(error).__name__}: {error}".removesuffix(": "))
        except asyncio.CancelledError:
            await anyio.lowlevel.checkpoint_if_cancelled()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return as_error("CancelledError: the function cancelled itself")

    async def _result(self, function: Function, text: str) -> str:
        if function.is_async:
            return as_text(await function.run(text))
        result = await run_in_thread(function.run_to_text, text, self._limiter)
        return result if isinstance(result, str) else as_text(await result)


def _mistakes(error: ValidationError) -> str:
    """What is wrong, each with its place: `days[0]: Input should be a valid integer`."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{place}: {item['msg']}" if (place := _place(item["loc"])) else item["msg"] for item in found]
    more = [f"and {len(told) - _ERRORS} more"] if len(told) > _ERRORS else []
    return "; ".join([*told[:_ERRORS], *more])


def _place(loc: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return "".join(steps).removeprefix(".")
