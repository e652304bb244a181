"""Answered rows as the training examples of OpenAI's fine-tuning, a conversation a line.

`{"messages": […], "tools": […]}`: the messages as the job renders them, media read in, then the answer,
or all that followed in turns and tool runs; with `tools`, `parallel_tool_calls` and the deprecated
`functions` where the row was asked with them (OpenAI: FineTuneChatRequestInput).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from batchrun.chat.response.completion import Choice, ToolCall
from batchrun.chat.transcript import assistant_message
from batchrun.export.left_out import LeftOut
from batchrun.export.lines import Written
from batchrun.export.prompts import UNRENDERED, Prompts
from batchrun.job import Job
from batchrun.progress.display import Progress
from batchrun.render.evaluate import RenderError
from batchrun.render.request import RowRequest
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import scan_run
from batchrun.show.show import Choice as RowChoice
from batchrun.show.show import Chosen, choose

SILENT = "the answer holds no text, refusal or tool call"

_COLUMNS = ["completion", "refusal", "tool_calls", "audio", "messages", "model", "model_index"]
_TOOLS = ("tools", "parallel_tool_calls", "functions")
_SAID = ("content", "refusal", "tool_calls", "function_call")
_CALL = ("id", "type", "name", "arguments", "input")

Result = Mapping[str, Any]
Messages = list[Mapping[str, Any]]


def lines(
    job: Job, run: RunFolder, where: str | None, left_out: LeftOut, _progress: Progress
) -> Iterator[dict[str, Any]]:
    """A line for each ok row for which `where` holds; of several choices the first.

    Raises RunFolderError without a run.
    """
    run.require()
    answered = scan_run(run).filter(pl.col("status") == "ok")
    return _conversations(Prompts.of(job), choose(answered, RowChoice(where=where)), left_out)


def note(_written: Written) -> str:
    """Nothing: a file may hold any number."""
    return ""


def _conversations(prompts: Prompts, chosen: Chosen, left_out: LeftOut) -> Iterator[dict[str, Any]]:
    for result, request in prompts.asked(chosen, _COLUMNS, left_out):
        try:
            messages, tools = _messages(request, result), _tools(request, result)
            if messages is None:
                left_out.add(SILENT, result["row_id"])
            else:
                yield {"messages": request.with_media(messages), **tools}
        except RenderError as failure:
            left_out.add(UNRENDERED, f"{result['row_id']}: {failure.error.message}")


def _messages(request: RowRequest, result: Result) -> Messages | None:
    """The whole conversation; None where its last message says nothing."""
    legacy = "functions" in request.parameters(0)
    if request.renderer.dialogue_rules.keep_messages:
        later = _later(request, result["messages"] or (), legacy=legacy)
    else:
        spoken = (result["audio"] or {}).get("transcript")
        later = [_assistant({**result, "content": result["completion"] or spoken}, legacy=legacy)]
    last = later[-1] if later else {}
    return [*request.messages, *later] if any(last.get(name) for name in _SAID) else None


def _later(request: RowRequest, transcript: Sequence[Result], *, legacy: bool) -> Messages:
    """What a transcript (column `messages`) holds after the prompt, as it was sent."""
    further = iter(request.dialogue().turns)
    answers: list[str] = []
    messages: Messages = []
    said = ""
    for entry in transcript[len(request.messages) :]:
        if entry["role"] == "assistant":
            said = entry["content"] or ""
            messages.append(_assistant(entry, legacy=legacy))
        elif entry["role"] == "user":
            answers.append(said)
            messages.append(next(further)(answers))
        else:
            names = ("role", "name", "tool_call_id", "content")
            messages.append({name: entry[name] for name in names if entry[name] is not None})
    return messages


def _assistant(entry: Result, *, legacy: bool) -> Mapping[str, Any]:
    """An answer as a message, without members that are null."""
    calls = tuple(ToolCall(*(call[name] for name in _CALL)) for call in entry["tool_calls"] or ())
    choice = Choice(entry["content"], entry["refusal"], None, None, calls, None, ())
    message = assistant_message(choice, legacy=legacy)
    return {name: value for name, value in message.items() if value is not None}


def _tools(request: RowRequest, result: Result) -> dict[str, Any]:
    """The tools that the model which answered was offered; of the job's first where it is there no more."""
    models, at = request.renderer.models, result["model_index"]
    asked = at if at < len(models) and models[at].qualified_name == result["model"] else 0
    document = request.renderer.document(request, asked, request.messages, last=True)
    return {name: document[name] for name in _TOOLS if name in document}
