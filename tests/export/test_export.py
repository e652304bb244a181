"""`export`: every row in a format of other programs, and nothing in a CSV that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.errors import StorageError, UsageError
from batchrun.export import FORMATS, replacing
from batchrun.export.csv_table import write as write_csv
from batchrun.job.snapshot import job_snapshot
from batchrun.run_folder.results.read import scan_run
from tests.commands import batchrun
from tests.hostile import ALL, FORMULAS, PATTERNS, hostile_run, storable
from tests.reliability.traced import is_there, record
from tests.run_folder.answering import Work, failed
from tests.small_files import files_of_at_most

ROWS = [{"text": f"row {n}", "n": -n, "meta": {"tags": ["a", "b"], "deep": {"x": n}}} for n in range(6)]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Six rows: three published, one of them failed, and one answered since."""
    work = Work(tmp_path).write(ROWS)
    work.answer([0, 1])
    work.answer([2], failed)
    work.publish()
    work.answer([4])
    return work


def exported(work: Work, *words: str) -> str:
    ended = batchrun("export", work.run.path, *words, cwd=work.folder)
    assert ended.code == 0, ended.err
    return ended.out


def cells(rows: pl.DataFrame) -> list[dict[str, str]]:
    """The rows as a reader of CSV gets them."""
    return list(csv.DictReader(io.StringIO(written(rows).decode(), newline="")))


def written(rows: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    write_csv(rows.schema, [rows], sink)
    return sink.getvalue()


def test_every_format_holds_every_row(work: Work, tmp_path: Path) -> None:
    """Published rows and those that only the checkpoint has, in input order, by all columns."""
    expected = scan_run(work.run).collect()
    assert expected["row_index"].to_list() == [0, 1, 2, 4]
    lines = [json.loads(line) for line in exported(work, "--format", "jsonl").splitlines()]
    assert [(line["row_index"], line["completion"]) for line in lines] == list(
        expected.select("row_index", "completion").iter_rows()
    )
    assert set(lines[0]) == set(expected.columns)
    exported(work, "--out", str(tmp_path / "rows.parquet"))
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(expected)
    table = list(csv.DictReader(io.StringIO(exported(work, "--format", "csv"))))
    assert [row["row_id"] for row in table] == expected["row_id"].to_list()
    assert [row["usage.prompt_tokens"] for row in table] == [""] * 4
    assert [row["error.type"] for row in table] == ["", "", "invalid_request", ""]


def test_rows_and_columns_are_chosen(work: Work) -> None:
    """--where as in show, --columns in the order given; a wrong name is told with the right ones."""
    out = exported(work, "--where", "status = 'ok' AND row_index > 0", "--columns", "status, row_index")
    assert out == '{"status":"ok","row_index":1}\n{"status":"ok","row_index":4}\n'
    wrong = batchrun("export", work.run.path, "--columns", "nope", cwd=work.folder)
    assert (wrong.code, "no column `nope`" in wrong.err) == (2, True)
    assert exported(work, "--where", "row_index > 99", "--columns", "status", "--format", "csv") == "status\n"


def test_show_takes_names_that_are_patterns(tmp_path: Path) -> None:
    """As columns of the input, and as they are."""
    work = Work(tmp_path).write([{"text": "a", **{name: name for name in PATTERNS}}])
    work.answer([0])
    work.publish()
    shown = batchrun("show", work.run.path, "--columns", "^row_id$,*", "--json", cwd=tmp_path)
    assert shown.lines == [{"^row_id$": "^row_id$", "*": "*"}]
    assert "*: *" in batchrun("show", work.run.path, cwd=tmp_path).out


def test_members_that_are_called_like_patterns_are_members() -> None:
    """Each has its own cell."""
    rows = pl.DataFrame({"s": [{"*": "a", "^b$": {"^.*$": "c"}, "b": "d"}, None]})
    assert cells(rows)[0] == {"s.*": "a", "s.^b$.^.*$": "c", "s.b": "d"}


def test_members_become_columns() -> None:
    """Structs by their members with dots, however deep; lists as JSON; a null struct as empty cells."""
    rows = pl.DataFrame(
        {"a": [{"b": {"c": 1}, "l": [{"x": "y"}]}, None], "a.l": ["the input's own", None], "e": [[1, 2], []]}
    )
    assert cells(rows) == [
        {"a.b.c": "1", "a.l_": '[{"x":"y"}]', "a.l": "the input's own", "e": "[1,2]"},
        {"a.b.c": "", "a.l_": "", "a.l": "", "e": "[]"},
    ]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-5, "-5"),
        (-0.25, "-0.25"),
        (2**63 - 1, "9223372036854775807"),
        (Decimal("-1.10"), "-1.10"),
        (True, "true"),
        (None, ""),
        (b"\xff\xfe", "//4="),
        (b"\xfb\xff", "'+/8="),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
        (timedelta(seconds=1.5), "PT1.5S"),
        ("-5", "-5"),
        ("+1.5e-3", "+1.5e-3"),
        ("-.5", "-.5"),
        ("a=1", "a=1"),
        ("\n\nAn answer", "\n\nAn answer"),
        ('"quoted", with\r\na line', '"quoted", with\r\na line'),
        ("a\rb", "a\rb"),
    ],
)
def test_values_in_cells(value: Any, cell: str) -> None:
    """Numbers stay numbers, also in texts; what no spreadsheet runs stays as it is."""
    assert cells(pl.DataFrame({"x": [value], "y": [1]})) == [{"x": cell, "y": "1"}]


def test_null_and_the_empty_text_differ() -> None:
    """Null is an empty cell, an empty text is a pair of quotes."""
    rows = pl.DataFrame({"a": ["", None], "b": [1, 2]})
    assert written(rows) == b'a,b\n"",1\n,2\n'


@pytest.mark.parametrize("value", ["x", 1, [1]], ids=["text", "number", "list"])
def test_no_row_of_a_single_column_is_an_empty_line(value: Any) -> None:
    """Readers skip one, and the rows would be fewer."""
    table = cells(pl.DataFrame({"x": [value, None, value]}))
    assert [bool(row["x"]) for row in table] == [True, False, True]


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_no_text_is_a_formula(text: str) -> None:
    """In cells, names of columns and of members, and categories: an apostrophe stands before it."""
    rows = pl.DataFrame({text: [text], "s": [{text: text}], "c": pl.Series([text], dtype=pl.Categorical)})
    assert cells(rows) == [{f"'{text}": f"'{text}", f"s.{text}": f"'{text}", "c": f"'{text}"}]


@pytest.mark.parametrize("columns", ["row_index,row_index", "row_index,", ",row_index, row_index"])
def test_a_column_is_written_once(work: Work, columns: str) -> None:
    """However often it is named, and whatever commas are left over."""
    assert exported(work, "--columns", columns, "--where", "row_index = 0") == '{"row_index":0}\n'
    shown = batchrun("show", work.run.path, "--columns", columns, "--json", "0", cwd=work.folder)
    assert shown.lines == [{"row_index": 0}]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_member_is_a_column_by_its_path(work: Work, form: str) -> None:
    """Of any struct, in the order given, beside others; show has it, too."""
    choice = ["--columns", "error.message,row_index", "--where", "row_index = 2"]
    written = exported(work, *choice, "--format", form)
    (row,) = (pl.read_csv if form == "csv" else pl.read_ndjson)(written.encode()).to_dicts()
    whole = json.loads(exported(work, "--where", "row_index = 2"))
    assert list(row.items()) == [("error.message", whole["error"]["message"]), ("row_index", 2)]
    shown = batchrun("show", work.run.path, *choice, "--json", cwd=work.folder)
    assert [list(line.items()) for line in shown.lines] == [list(row.items())]


def test_names_that_are_no_columns_are_told_with_what_is(work: Work) -> None:
    """A member by its neighbours; nothing at all by all there is."""
    for columns, words in (
        ("usage.tokens", "`usage` of the results has no member `tokens`\n  Members: prompt_tokens,"),
        ("completion.text", "`completion` of the results is text and has no members"),
        ("attempts.model", "a list and has no members\n  Name attempts itself."),
        ("nope.x", "the results have no column `nope.x`"),
        (",", "names no column"),
    ):
        ended = batchrun("export", work.run.path, "--columns", columns, cwd=work.folder)
        assert (ended.code, words in ended.err) == (2, True), ended.err


def test_columns_of_the_input_before_the_first_publication(tmp_path: Path) -> None:
    """They are not there yet, and that is what is said."""
    work = Work(tmp_path).write(ROWS)
    work.answer([0])
    ended = batchrun("export", work.run.path, "--where", "n = 5", cwd=tmp_path)
    assert (ended.code, "The input's come with the next publication" in ended.err) == (2, True), ended.err
    work.publish()
    ended = batchrun("export", work.run.path, "--where", "m = 5", cwd=tmp_path)
    assert (ended.code, "publication" in ended.err) == (2, False), ended.err


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv.gz", "x.jsonl.ZST", "x.txt"])
def test_a_file_that_is_called_otherwise_is_refused(work: Work, name: str) -> None:
    """No program finds JSONL in a spreadsheet's file, nor text in a compressed one."""
    ended = batchrun("export", work.run.path, "--out", name, cwd=work.folder)
    assert (ended.code, "Name a file" in ended.err) == (2, True), ended.err
    assert not (work.folder / name).exists()
    forced = batchrun("export", work.run.path, "--out", name, "--format", "csv", cwd=work.folder)
    assert forced.code == (0 if name in ("x.xlsx", "x.txt") else 2)


@pytest.mark.long
@pytest.mark.parametrize("verb", ["export", "report"])
def test_a_pipe_without_a_name_is_written_to(work: Work, verb: str) -> None:
    """As the shell's >(…) and /dev/stdout are; a report goes to standard output by -, too."""
    for out in ("/dev/stdout", "-"):
        words = [sys.executable, "-m", "batchrun", verb, str(work.run.path), "--out", out]
        ended = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        assert ended.stdout.startswith({"export": '{"row_index":0,', "report": "<!doctype html>"}[verb])


def harmless(cell: str) -> bool:
    """Whether a spreadsheet sees a text or a number, by OWASP's list; said in other words."""
    seen = cell.lstrip().lstrip(
        "\x00\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    )
    if cell[:1] in ("\t", "\r"):
        return False
    try:
        float(cell)
    except ValueError:
        return seen.lstrip()[:1] not in tuple("=+-@＝＋－＠")
    return True


@given(
    st.lists(st.sampled_from([*"=+-@\t\r\n '\"1a", "\ufeff", "\u00a0", "\u200b"]), max_size=6).map("".join)
)
def test_any_text_is_harmless_and_comes_back(text: str) -> None:
    """The cell is the text, or the text behind an apostrophe."""
    [row] = cells(pl.DataFrame({"x": [text], "y": ["z"]}))
    assert harmless(row["x"])
    assert row["x"] in (text, f"'{text}")


def test_a_run_full_of_hostile_texts(tmp_path: Path) -> None:
    """No cell of its CSV is a formula, and its JSONL is the same as the rows."""
    run = hostile_run(tmp_path / "run", ALL)
    assert batchrun("export", run.path, "--out", tmp_path / "x.csv", cwd=tmp_path).code == 0
    with (tmp_path / "x.csv").open(newline="") as file:
        read = list(csv.reader(file))
    assert len(read) == 2 * len(ALL) + 4
    assert [cell for row in read for cell in row if not harmless(cell)] == []
    words = ("--columns", "completion", "--where", "status = 'ok'", "--format", "jsonl")
    lines = batchrun("export", run.path, *words, cwd=tmp_path).lines
    assert [line["completion"] for line in lines[: len(ALL)]] == [storable(text) for text in ALL]


@pytest.mark.parametrize("form", ["xlsx", "openai"])
def test_formats_that_are_not_there_are_refused(work: Work, form: str) -> None:
    """With those that are."""
    ended = batchrun("export", work.run.path, "--format", form, cwd=work.folder)
    assert (ended.code, ", ".join(map(repr, FORMATS)) in ended.err) == (2, True)


def test_what_is_written_is_said(work: Work, tmp_path: Path) -> None:
    """On standard error, or with --json as JSON; which needs a file, for the rows go to standard output."""
    out = tmp_path / "x.csv"
    some: list[str | Path] = ["--out", out, "--where", "row_index < 4"]
    assert batchrun("export", work.run.path, *some, cwd=tmp_path).err == "3 rows in x.csv\n"
    said = batchrun("export", work.run.path, *some, "--json", cwd=tmp_path).json
    assert said == {"rows": 3, "format": "csv", "out": str(out), "without_input": 0}
    refused = batchrun("export", work.run.path, "--json", cwd=tmp_path)
    assert (refused.code, "Add --out FILE" in refused.err) == (2, True)


def test_rows_without_their_input_are_told(work: Work, tmp_path: Path) -> None:
    """Those that no submit has published yet, where a column of the input is written."""
    words = ["export", str(work.run.path), "--out", str(tmp_path / "x.csv")]
    lacking = "1 row without the input's columns"
    assert batchrun(*words, cwd=tmp_path).err.startswith(f"{lacking}: the next submit fills them in\n")
    assert batchrun(*words, "--json", cwd=tmp_path).json["without_input"] == 1
    assert lacking in batchrun(*words, "--columns", "row_id,text", cwd=tmp_path).err
    assert lacking not in batchrun(*words, "--columns", "row_id,completion", cwd=tmp_path).err


def test_rows_that_share_a_number_are_told_apart(work: Work) -> None:
    """Without ids: lines were inserted, and the submit that asked for them killed before it published."""
    work.write([{"text": "inserted"}, {"text": "another"}, *ROWS])
    work.answer([0, 1])
    shown = [json.loads(line) for line in exported(work, "--columns", "row_id,completion,text").splitlines()]
    assert [row["row_id"] for row in shown] == ["0", "0", "1", "1", "2", "4"]
    for row in shown:
        if row["completion"]:
            words = ["--where", f"completion = '{row['completion']}'", "--json"]
            assert [one["row_id"] for one in batchrun("show", work.run.path, *words).lines] == [row["row_id"]]
    out = str(work.folder / "published.jsonl")
    words = ["--where", "text IS NOT NULL", "--out", out, "--json"]
    assert batchrun("export", work.run.path, *words).json == {
        "rows": 3,
        "format": "jsonl",
        "out": out,
        "without_input": 0,
    }


def test_before_the_first_publication_no_row_has_its_input(tmp_path: Path) -> None:
    """That is told, too, unless only other columns are wanted."""
    work = Work(tmp_path).write(ROWS)
    work.answer([0, 1])
    words = ["export", str(work.run.path), "--out", str(tmp_path / "x.csv")]
    assert batchrun(*words, cwd=tmp_path).err.startswith("2 rows without the input's columns")
    assert batchrun(*words, "--columns", "row_id", cwd=tmp_path).err == "2 rows in x.csv\n"


def test_nothing_of_the_job_is_written_over(work: Work, tmp_path: Path) -> None:
    """Neither the run folder, nor the job file, nor its input, by whatever way they are named."""
    work.job  # noqa: B018 - writes the job file
    job = next(tmp_path.glob("*.yaml"))
    link = tmp_path / "link.csv"
    link.symlink_to("rows.jsonl")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for out in (work.run.path / "x.csv", work.run.path / "results" / "x.csv", job, "rows.jsonl", "link.csv"):
        ended = batchrun("export", job, "--name", "job", "--out", out, cwd=tmp_path)
        assert (ended.code, "Name a" in ended.err) == (2, True), ended.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_nothing_that_a_job_is_made_of_is_written_over(work: Work, tmp_path: Path) -> None:
    """The file of variables, messages, includes, schema, functions and certificates; of a run folder, too,
    what its copy of the job still names."""
    texts = {
        "messages.yaml": "[{role: user, content: \"{% include 'part.txt' %}\"}]",
        "part.txt": "{% if true %}{% include 'deep.txt' %}{% endif %}",
        "deep.txt": "{{ text }}",
        "schema.json": '{"type": "object"}',
        "tools.py": "def f() -> str:\n    return ''\n",
        "ca.pem": "x",
        "keys.env": "A=b\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    work.sections = {
        "prompt": {"messages": [{"file": "messages.yaml"}]},
        "schema": "schema.json",
        "run_tools": {"module": "tools.py", "functions": ["f"]},
        "endpoints": {"openai": {"ca_file": "ca.pem"}},
    }
    job = work.job
    refused = batchrun("export", job.path, "--name", "job", "--out", "x.csv", cwd=tmp_path)
    assert refused.code == 0, refused.err
    work.run.job_yaml.write_text(job_snapshot(job, [{"role": "user", "content": "{% include 'deep.txt' %}"}]))
    in_copy = ("messages.yaml", "deep.txt", "tools.py", "ca.pem", "keys.env", "rows.jsonl", job.path.name)
    for argument, names in ((job.path, texts), (work.run.path, in_copy)):
        for name in names:
            words = ("--env-file", "keys.env", "--format", "csv", "--out", name)
            ended = batchrun("export", argument, *words, cwd=tmp_path)
            assert (ended.code, "what the job reads" in ended.err) == (2, True), (name, ended.err)
    assert {name: (tmp_path / name).read_text() for name in texts} == texts


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """An export that fails leaves what was there; one that ends well keeps its permissions."""
    path = tmp_path / "x.csv"
    path.write_text("before")
    path.chmod(0o640)
    with pytest.raises(RuntimeError, match="stop"):
        _write_half(path)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("x.csv", "before")]
    with replacing(path) as file:
        file.write(b"whole")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("whole", 0o640)
    with replacing(tmp_path / "new") as file:
        file.write(b"x")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_private_file_stays_private_while_it_is_replaced(tmp_path: Path) -> None:
    """Nobody else may read the rows that are being written, and a link in their place is not followed."""
    path, other = tmp_path / "x.csv", tmp_path / "other"
    path.touch(0o600)
    other.write_text("untouched")
    (tmp_path / f".x.csv.{os.getpid()}.tmp").symlink_to(other)
    with replacing(path) as file:
        file.write(b"rows")
        unfinished = next(entry for entry in tmp_path.iterdir() if entry.name.startswith("."))
        assert unfinished.lstat().st_mode & 0o777 == 0o600
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("rows", 0o600)
    assert other.read_text() == "untouched"


@pytest.mark.skipif(not is_there(), reason="strace is missing")
def test_a_power_cut_leaves_no_half_of_an_export(work: Work, tmp_path: Path) -> None:
    """What was written is on disk before it takes the place of what was there."""
    (out := tmp_path / "out").mkdir()
    words = [sys.executable, "-m", "batchrun", "export", str(work.run.path), "--out", str(out / "x.csv")]
    recorded = record(words, out, tmp_path / "trace")
    made = [one.point.syscall for one in recorded if one.point.syscall not in ("fchmod", "unlink")]
    assert set(made[:-2]) == {"openat", "write"}
    assert made[-2:] == ["fsync", "rename"]


def _write_half(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise RuntimeError("stop")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder that is not there is a wrong command; a full disk is one to make room on."""
    with pytest.raises(UsageError, match="No such file"), replacing(tmp_path / "no" / "x.csv"):
        pass
    with pytest.raises(UsageError, match="Is a directory"), replacing(tmp_path):
        pass
    with pytest.raises(StorageError, match="No space left"), replacing(Path("/dev/full")) as file:
        file.write(b"x")


def test_a_reader_that_has_enough_is_no_error(work: Work) -> None:
    """`batchrun export … | head -1` ends well."""
    command = f"{sys.executable} -m batchrun export {work.run.path} --format csv; echo $? >&2"
    ended = subprocess.run(
        ["sh", "-c", f"({command}) | true"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stderr == "0\n"


def test_a_disk_that_is_full_is_told_with_what_to_do(work: Work, tmp_path: Path) -> None:
    """Exit code 3, and no file is left."""
    folder = tmp_path / "out"
    folder.mkdir()
    with files_of_at_most(4096):
        ended = batchrun("export", work.run.path, "--out", folder / "x.parquet")
    assert (ended.code, list(folder.iterdir())) == (3, [])
    assert "cannot write" in ended.err
    assert "make room" in ended.err


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """200 MB of text more take little memory: what allocators keep, not the rows."""
    peaks = {}
    for rows in (2_000, 10_000):
        run = hostile_run(tmp_path / str(rows), ["x"]).path
        _enlarge(run / "generations" / "000001" / "part-00000.parquet", rows)
        words = ("export", str(run), "--format", "csv", "--columns", "row_id,completion,model")
        peaks[rows] = _peak_mb(words)
    assert peaks[10_000] - peaks[2_000] < 100, peaks


def _enlarge(part: Path, rows: int) -> None:
    """Put so many rows into a part: 25 kB of text in each."""
    one = pl.read_parquet(part).head(1)
    text = pl.concat_str(pl.int_range(rows).cast(pl.String), pl.lit("x" * 25_000))
    columns: dict[str, pl.Expr] = {"row_index": pl.int_range(rows, dtype=pl.Int64), "completion": text}
    many = one[[0] * rows].with_columns(**columns)
    many.write_parquet(part, row_group_size=500)


def _peak_mb(words: tuple[str, ...]) -> float:
    code = (
        "import re, sys\nfrom batchrun.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "peak = re.search('VmHWM:\\\\s+(\\\\d+)', open('/proc/self/status').read())[1]\n"
        "sys.stderr.write(peak)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True
    )
    return int(ended.stderr) / 1024
