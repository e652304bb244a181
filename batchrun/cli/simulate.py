"""`batchrun simulate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import as_json
from batchrun.cli.text import write_json
from batchrun.errors import UsageError

if TYPE_CHECKING:
    from batchrun.simulator import SimulatorConfig

_SNIPPET = """\
serving {url} until Ctrl-C

  # in a job file
  model: local/small
  endpoints:
    local: {{base_url: "{url}"}}
"""

_OPTIONS = "`batchrun simulate --help` lists the options."


_HELP = """\
Serve an OpenAI-compatible endpoint that makes its answers up, the same ones each time.

The options of --config are those of `endpoints.NAME.simulator` in a job:

\b
  seed: 7
  models: [small, large]     # default: any name
  context_window: 128000
  api_key: made-up           # or in turn, each for so many calls:
  api_keys: [{key: one, calls: 50}, {key: two}]
  limits:
    rpm: 600                 # or steps, by seconds since the first call:
    tpm: [{at: 0, tpm: 100000}, {at: 15, tpm: 20000}]
    rpd: 14400               # requests in a day
    window: 60               # of rpm and tpm, seconds
    kind: sliding            # or bucket: comes back all the time
    count: estimate          # on arrival; or actual, afterwards
    count_refused: false
    concurrency: 16          # or steps [{at: 0, concurrency: 16}]
    queue: true              # false: calls beyond concurrency are 429s
    headers: openai          # seconds, anthropic, cerebras, azure, groq,
                             # openrouter, ietf, litellm, none
    retry_after: header      # date, ms, message, none
  latency: {kind: constant, seconds: 0.2}
         | {kind: uniform, low: 0.1, high: 0.5}
         | {kind: lognormal, median: 0.4, sigma: 0.6, max: 20}
  slowdown: 40               # 41 at once take twice as long as one
  cache: {tokens: 1024, seconds: 300}  # prompts that begin alike
  cost: {input: 0.15, output: 0.6, cached: 0.075, report: true}
                             # USD per million tokens, for cost_usd in the
                             # ledger; report shows usage.cost in answers
  tokens_per_byte: 0.5       # tokens that a prompt really takes
  batches:                   # /v1/files and /v1/batches
    seconds: 5               # from the first line answered to the last
    validating: 0.1          # before that, and again afterwards
    expires_after: 60        # what is not answered then never is
    cancelling: 3            # until a cancelled one is over
    lines: 50000
    bytes: 200000000
    models: one              # that a file may name; default: any
    enqueued_tokens: 2000000
    price: 0.5               # what a line costs, of a call's price
    listing: true            # false: lists of files and batches are 404s
    faults:                  # the first that applies to a request strikes
      - {on: create, nth: 1, act: refuse, status: 429, retry_after: 2}
      - {on: create, nth: 2, act: lose}  # done, but never answered
      - {on: content, act: cut}          # half of the answer comes
      - {on: get, stall: 3}  # upload, create, get, list, content, cancel,
                             # delete, list_files
  stored: {listing: true, delay: 2}  # completions with store: true; delay:
                             # seconds until they are shown
  faults:                    # the first that applies to a call strikes
    - {rate: 0.05, status: 429, retry_after: 2}
    - {rate: 0.02, reset: mid_body}    # or close; before_headers,
                                       # after_headers, mid_body
    - {match: urgent, first: 1, stall: 30}
    - {rate: 0.01, stall: 30}          # stragglers; a copy is drawn anew
    - {calls: [10, 20], drip: 100}     # bytes a second
    - {model: large, error_in_200: 500}
    - {rate: 0.01, answer: malformed}  # empty, null_choices, no_choices,
                                       # null_message, refusal, content_filter
    - {rate: 0.01, finish_reason: length}
    - {match: urgent, output: invalid, first: 1, per: conversation}
                             # JSON that breaks its schema, once in each
                             # conversation; or fence, preface, postscript,
                             # truncated, whitespace
    - {mentions: secret, refusal: I will not}
    - {rate: 0.1, stream: error}       # or no_done, comments
  reasoning: reasoning_content   # show reasoning under this name
  bodies: true               # write requests' bodies into the ledger
"""

EXAMPLES = [
    ("An endpoint to try a job on:", "batchrun simulate"),
    ("One with a limit, whose answers take half a second:", "batchrun simulate --rpm 60 --latency 0.5"),
    (
        "One that fails as a file says, and writes down every call:",
        "batchrun simulate --config simulator.yaml --ledger calls.jsonl",
    ),
]


@click.command(cls=Explained, help=_HELP, examples=EXAMPLES)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8787,
    show_default=True,
    help="The port to listen on; 0: any free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="A YAML file with the options above."
)
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write every call and every answer down here, a line of JSON each.",
)
@click.option(
    "--rpm",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse requests beyond so many in any minute, per model.",
)
@click.option(
    "--tpm",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse requests beyond so many tokens in any minute, per model.",
)
@click.option("--latency", type=click.FloatRange(min=0), metavar="SECONDS", help="How long an answer takes.")
@click.option("--seed", type=int, metavar="N", help="Another seed gives other texts, latencies and faults.")
@as_json
def command(
    port: int,
    host: str,
    config: Path | None,
    ledger: Path | None,
    rpm: int | None,
    tpm: int | None,
    latency: float | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Serve the endpoint until it is stopped."""
    from batchrun.simulator import place, run

    given = {"rpm": rpm, "tpm": tpm, "latency": latency, "seed": seed}
    settings = _overridden(_read(config) if config else {}, given)
    checked = _checked(settings, str(config or "the options"))

    try:
        run(checked, host, port, ledger, partial(_introduce, as_json=as_json))
    except OSError as error:
        if ledger and error.filename == str(ledger):
            raise UsageError(
                f"cannot write the ledger {ledger}: {error.strerror}",
                hint="Give --ledger a file that you may write to, in a folder that exists.",
            ) from error
        raise UsageError(
            f"cannot serve on {place(host, port)}: {error.strerror}",
            hint="Try --port 0, which takes a free one.",
        ) from error


def _introduce(url: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"base_url": url})
    click.echo(_SNIPPET.format(url=url), err=True)


def _read(path: Path) -> dict[str, Any]:
    from batchrun.job.document.document import read_document

    try:
        document = read_document(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--config {path}: cannot be read: {error}", hint="Name a YAML file of the simulator's options."
        ) from error
    if document.problems:
        raise UsageError(f"--config {path}: {document.problems[0].text}", hint=_OPTIONS)
    if not isinstance(document.value, dict):
        raise UsageError(f"--config {path}: must be a mapping of options", hint=_OPTIONS)
    return document.value


def _overridden(settings: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the file, with the options that were given laid over them."""
    limits = {name: given[name] for name in ("rpm", "tpm") if given[name] is not None}
    latency, seed = given["latency"], given["seed"]
    return {
        **settings,
        **({"limits": {**_mapping(settings.get("limits")), **limits}} if limits else {}),
        **({"latency": {"kind": "constant", "seconds": latency}} if latency is not None else {}),
        **({"seed": seed} if seed is not None else {}),
    }


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _checked(settings: dict[str, Any], where: str) -> SimulatorConfig:
    from pydantic import ValidationError

    from batchrun.simulator import SimulatorConfig

    try:
        return SimulatorConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ": ".join([where, *([".".join(map(str, first["loc"]))] if first["loc"] else [])])
        raise UsageError(f"{place}: {first['msg']}", hint=_OPTIONS) from error
