"""The parts that a row passes on its way to its outcome, put together over the context of a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from batchrun.admission import Admitting
from batchrun.answer.answerer import Answerer
from batchrun.answer.attempts import Attempts
from batchrun.answer.calls import Caller
from batchrun.answer.chain import Attempting
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.recovery import Recovery
from batchrun.answer.tools import ToolRunner
from batchrun.chat.request.families import unsupported
from batchrun.client import EndpointClient, Resources
from batchrun.clock import Clock
from batchrun.engines.restore import retry_rules
from batchrun.job import Job
from batchrun.outcome import Error
from batchrun.prices import ModelPrices
from batchrun.render.renderer import Renderer
from batchrun.run_folder.journal.journal import Recorder
from batchrun.summary import Counters

_FUNCTION_ROWS = 40
"""Rows beyond the endpoints' places that may wait for their functions."""


@dataclass(frozen=True)
class Parts:
    """What is put together; `say` is told of models that refuse requests, `log` takes events.

    `run` is the run's own id. `resources` by endpoint, where stored answers can be looked for.
    """

    job: Job
    renderer: Renderer
    clients: Mapping[str, EndpointClient]
    prices: ModelPrices
    admission: Admitting
    journal: Recorder
    in_flight_calls: InFlightCalls
    counters: Counters
    clock: Clock
    say: Callable[[str], None]
    log: Callable[..., None]
    run: str
    resources: Mapping[str, Resources]

    def caller(self) -> Caller:
        """What sends calls."""
        return Caller(
            self.job.models,
            self.clients,
            self.prices,
            self.admission,
            self.journal,
            self.in_flight_calls,
            self.counters,
            self.clock,
            self.recovery,
        )

    def attempts(self, caller: Caller) -> Attempts:
        """What asks a model until it answers."""
        return Attempts(
            caller,
            self.admission,
            retry_rules(self.job),
            clock=self.clock,
            jitter=random.random,
            log=self.log,
            advise=self._advise,
        )

    def answerer(self, attempts: Attempting) -> Answerer:
        """What takes rows through their conversations."""
        job = self.job
        return Answerer(
            job.models,
            attempts,
            self.admission,
            self.journal,
            row_timeout=job.retry.timeout.row,
            fallback_on=frozenset(job.fallback_on),
            price_of=self.prices.of_name,
            clock=self.clock,
            tools=self._tools(),
            recovery=self.recovery,
        )

    @property
    def spare_rows(self) -> int:
        """Rows that may be under way beyond the endpoints' places."""
        return _FUNCTION_ROWS if self.job.run_tools else 0

    @cached_property
    def recovery(self) -> Recovery | None:
        """What finds stored answers, for calls and rows together; None where nothing is stored."""
        if not self.renderer.may_store:
            return None
        return Recovery(
            self.job.name, self.run, self.resources, self.counters, self.clock, self.say, self.log
        )

    def _tools(self) -> ToolRunner | None:
        """What runs the job's functions, whose results carry no key to a model or into the journal."""
        functions = self.renderer.functions
        if functions is None:
            return None

        def hide(text: str) -> str:
            for client in self.clients.values():
                text = client.hide_text(text)
            return text

        shielded = replace(functions, hide=hide)
        return ToolRunner(shielded, self.journal, self.counters, self.clock, self.log)

    def _advise(self, model_index: int, error: Error) -> None:
        """Say which parameters a model is known to refuse, once it has refused a request."""
        model = self.job.models[model_index]
        if known := unsupported(model.name, model.parameters):
            self.say(f"{model.qualified_name} refuses requests: {error.message}\n" + "\n".join(known))
