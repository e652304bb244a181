"""The request and the answer that decided a row, as JSON text (`output.raw`)."""

from __future__ import annotations

from contextlib import suppress

from batchrun import codec
from batchrun.chat.dialogue import replayed
from batchrun.outcome import Response
from batchrun.policy.judge import judge
from batchrun.render.evaluate import RenderError
from batchrun.render.request import RowRequest
from batchrun.run_folder.journal.history import History


def raw_request(
    request: RowRequest | None, history: History, model: str | None, model_index: int
) -> str | None:
    """The body that `model` was sent last, with media named; None where the job's chain holds it no more, and
    where an answer to an older request counts for this one (`reparse`)."""
    chain = [choice.qualified_name for choice in request.renderer.models] if request else []
    if request is None or model not in chain:
        return None
    at = model_index if model_index < len(chain) and chain[model_index] == model else chain.index(model)
    decided = history.done.outcome.call if history.done else None
    call = max(history.sent) if decided is None else decided
    if history.sent[call].request_hash != request.request_hash:
        return None
    completions = {
        history.sent[number].step: judged.completion
        for number, answered in history.answered.items()
        if number in history.sent and (judged := judge(answered.exchange)).completion
    }
    results = {step: ran.results for step, ran in history.ran.items()}
    with suppress(RenderError):
        step = replayed(request.dialogue(), completions, results, history.sent[call].step)
        return codec.dumps(request.document(at, step)).decode() if step else None
    return None


def raw_response(history: History) -> str | None:
    """The body of the answer that decided the row."""
    call = history.done.outcome.call if history.done else None
    answered = history.answered.get(call) if call is not None else None
    if answered is None or not isinstance(answered.exchange, Response):
        return None
    return answered.exchange.body.decode(errors="replace")
