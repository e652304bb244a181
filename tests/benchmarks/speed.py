"""batchrun as a whole process against others, in turn, on a responder that is not ours.

Each contender is a process that reads the same JSONL and makes the same calls. batchrun's ends when its
results are published, the others' when they have read the answers, of which they keep nothing. Figures are
medians; a ratio is batchrun's figure over the line's, the median of those of each round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import contenders, nginx, peer_environment, shapes, table, timed
from tests.benchmarks.contenders import Contender, Ran, Scene
from tests.benchmarks.shapes import Shape

COLUMNS = (
    "shape, contender",
    "rows",
    "all ok",
    "rows/s",
    "CPU µs/row",
    "rows/CPU s",
    "peak MB",
    "nginx µs/row",
    "nginx load",
    "rows/s ratio",
    "rows/CPU s ratio",
)
NAMES = ("batchrun", "bare", "lm-deluge", "openai")
_STRANGERS = frozenset({"lm-deluge", "openai"})


@dataclass(frozen=True, slots=True)
class Timed:
    """All rounds of the contenders in one shape, by name; in each round they ran one after another."""

    shape: Shape
    rounds: Mapping[str, Sequence[Ran]]

    @property
    def is_whole(self) -> bool:
        """Whether all of them had each row answered, once."""
        return all(ran.is_whole for runs in self.rounds.values() for ran in runs)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The lines of the table. Who lost rows has no figures: less work takes less."""
        ours = self.rounds.get("batchrun", ())
        for name, runs in self.rounds.items():
            head = (f"{self.shape} {name}", f"{runs[0].rows:,}")
            if all(ran.is_whole for ran in runs):
                yield (*head, "yes", *_figures(runs), *_ratios(ours, runs))
            else:
                yield (*head, f"NO: {min(ran.ok for ran in runs):,}", *[""] * (len(COLUMNS) - 3))


def _figures(runs: Sequence[Ran]) -> tuple[str, ...]:
    rows = runs[0].rows
    cpu = statistics.median(ran.cpu for ran in runs)
    nginx_cpu = statistics.median(ran.responder_cpu for ran in runs)
    seconds = statistics.median(ran.seconds for ran in runs)
    return (
        f"{rows / seconds:,.0f}",
        f"{cpu / rows * 1e6:,.0f}",
        f"{rows / cpu:,.0f}",
        f"{statistics.median(ran.peak_mb for ran in runs):,.0f}",
        f"{nginx_cpu / rows * 1e6:,.0f}",
        f"{nginx_cpu / seconds:.0%}",
    )


def _ratios(ours: Sequence[Ran], theirs: Sequence[Ran]) -> tuple[str, str]:
    if not ours or ours is theirs or not all(ran.is_whole for ran in ours):
        return "", ""
    return (
        table.times(table.ratio([1 / ran.seconds for ran in ours], [1 / ran.seconds for ran in theirs])),
        table.times(table.ratio([1 / ran.cpu for ran in ours], [1 / ran.cpu for ran in theirs])),
    )


def time_shape(
    folder: Path, shape: Shape, rows: int, rounds: int, against: Sequence[Contender]
) -> Iterator[str | Timed]:
    """Run all contenders in turn, `rounds` times; a text says what happens, the last item is the result."""
    shapes.write_table(folder / "rows.jsonl", rows, shape.prompt)
    able = [one for one in against if not one.cannot(shape)]
    yield from (f"{shape} {one.name}: takes no part, {why}" for one in against if (why := one.cannot(shape)))
    runs: dict[str, list[Ran]] = {one.name: [] for one in able}
    with nginx.responding(folder, shape) as responder:
        scene = Scene(folder, shape, rows, responder)
        for number in range(rounds):
            for one in able:
                ran = one.run(scene)
                runs[one.name].append(ran)
                yield f"{shape} {one.name}, round {number + 1}: {_said(ran)}"
                if not ran.is_whole:
                    yield scene.failure()
    yield Timed(shape, runs)


def _said(ran: Ran) -> str:
    if not ran.is_whole:
        return f"{ran.ok:,} of {ran.rows:,} rows ok, {ran.calls:,} calls; it wrote:"
    return f"{ran.rows / ran.seconds:,.0f} rows/s, {ran.cpu / ran.rows * 1e6:,.0f} µs CPU a row"


def main(arguments: Sequence[str]) -> int:
    """Time the shapes; 1 where a contender lost a row, 2 where nothing could be timed."""
    asked = _parser().parse_args(arguments)
    if why := nginx.missing():
        _say(why)
        return 2
    timed.allow_open_files()
    versions, against = _contenders(asked.against or NAMES, asked.peers)
    head = table.headed(" ".join(["python -m tests.benchmarks speed", *arguments]), versions)
    done: list[Timed] = []
    for shape in asked.shape or map(shapes.parse, shapes.DEFAULT):
        with tempfile.TemporaryDirectory(prefix="batchrun-speed-") as folder:
            for item in time_shape(Path(folder), shape, asked.rows or shape.rows, asked.rounds, against):
                if isinstance(item, str):
                    _say(item)
                else:
                    done.append(item)
        text = head + table.written(COLUMNS, [row for one in done for row in one.rows()])
        if asked.out:
            asked.out.write_text(text, encoding="utf-8")
    _say("\n" + text)
    return int(not all(one.is_whole for one in done))


def _contenders(names: Sequence[str], peers: Path) -> tuple[str, list[Contender]]:
    """The contenders by their names, and the versions of those that are not ours."""
    found, versions = {"batchrun": contenders.batchrun(), "bare": contenders.bare()}, "no peers"
    if not _STRANGERS.isdisjoint(names):
        try:
            python = peer_environment.ensure(peers)
        except peer_environment.MissingPeersError as error:
            _say(f"lm-deluge and openai take no part: {error}")
        else:
            versions = peer_environment.versions(python)
            found |= {one.name: one for one in contenders.strangers(python)}
    return versions, [found[name] for name in NAMES if name in names and name in found]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks speed", description=__doc__)
    parser.add_argument(
        "--shape",
        action="append",
        type=_shape,
        help="IN_FLIGHT-LATENCYms[-large][-logprobs|-schema][-stream][-tls]; may be repeated. "
        f"Default: {', '.join(shapes.DEFAULT)}",
    )
    parser.add_argument("--rows", type=int, help="default: 10,000, or 2,000 with large prompts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", action="append", choices=NAMES, help="may be repeated; default: all")
    parser.add_argument("--peers", type=Path, default=peer_environment.default_folder(), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to a file too")
    return parser


def _shape(spelled: str) -> Shape:
    try:
        return shapes.parse(spelled)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
