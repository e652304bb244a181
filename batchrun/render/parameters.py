"""The parameters of a row's request: the job's, evaluated for the row, or laid over the row's own body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchrun import codec
from batchrun.chat.request.parameters import check_combination, check_parameter
from batchrun.chat.stamps import is_stored, leaves_no_room
from batchrun.job import Job, ModelChoice
from batchrun.job.sections.prompt import OTHERWISE_GIVEN
from batchrun.render.evaluate import at, evaluated, no_json, unfit
from batchrun.template.source import has_markup
from batchrun.template.template import Context, Prepared, Templates

_IN_BODY_ALONE = frozenset({*OTHERWISE_GIVEN, "extra_body"})
"""Members of a row's own body that its `extra_body` must not hold."""

_TOKEN_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})
"""Two names of one parameter."""


class Parameters:
    """The parameters that one model of the chain is asked with, prepared.

    Raises JobError when a template cannot be read.
    """

    def __init__(self, job: Job, model: ModelChoice, templates: Templates) -> None:
        self.constant = {name: value for name, value in model.parameters.items() if not has_markup(value)}
        """Those that are the same for every row."""
        self._run_tools = job.run_tools.functions if job.run_tools else ()
        self._removed = model.removed | OTHERWISE_GIVEN.keys()
        self._dynamic: dict[str, Prepared] = {}
        for name, value in model.parameters.items():
            if name not in self.constant:
                with at(job.where("request", name), value):
                    self._dynamic[name] = templates.value(value)

    @property
    def vary(self) -> bool:
        """Whether rows have parameters of their own."""
        return bool(self._dynamic)

    def of(self, context: Context, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The parameters for a row; a null one is left out. `body` is the row's own request, if it has one.

        Raises RenderError, also for a value that the API's reference does not allow.
        """
        if not self._dynamic and body is None:
            return self.constant
        parameters = dict(self.constant)
        for name, prepared in self._dynamic.items():
            value = evaluated(f"request.{name}", prepared, context)
            if value is not None and value == value:
                _check("request", name, value)
                parameters[name] = value
        if body is not None:
            own = self._own(body)
            for name in own:
                _check("body", name, own[name])
            parameters = _without_other_limit(own, parameters) | parameters
        if wrong := check_combination(parameters, self._run_tools):
            raise unfit(f"request.{wrong}")
        if is_stored(parameters) and (reason := leaves_no_room(parameters.get("metadata"))):
            raise unfit(f"request.metadata: {reason}")
        return parameters

    def _own(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a row's own request says, as it is sent: the members of its `extra_body` are the body's own.

        Raises RenderError.
        """
        extra = {} if "extra_body" in self._removed else body.get("extra_body", {})
        if not isinstance(extra, Mapping):
            raise unfit("body.extra_body: must be a mapping of further members")
        if wrong := sorted(extra.keys() & _IN_BODY_ALONE):
            raise unfit(f"body.extra_body.{wrong[0]}: must not be given: its place is in the body itself")
        members = {**body, **extra}
        return {
            name: value
            for name, value in members.items()
            if name not in self._removed and name != "extra_body"
        }


def _without_other_limit(own: dict[str, Any], laid_over: Mapping[str, Any]) -> dict[str, Any]:
    """A row's own parameters without a limit of tokens that the job gives by its other name."""
    if laid_over.keys().isdisjoint(_TOKEN_LIMITS):
        return own
    return {name: value for name, value in own.items() if name not in _TOKEN_LIMITS}


def _check(place: str, name: str, value: Any) -> None:
    wrong = check_parameter(name, value)
    if wrong is None:
        return
    try:  # a date is sent as text, and no other value as what it is not
        wrong = check_parameter(name, codec.loads(codec.dumps(value)))
    except TypeError as error:
        raise no_json(error) from error
    if wrong is not None:
        raise unfit(f"{place}.{wrong}")
