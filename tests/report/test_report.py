"""`report`: a run as one HTML page, in which nothing that anybody wrote is more than text."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.report import Gathered, gather, page
from batchrun.report.charts import Chart
from batchrun.report.gathered import Failure, Row, Verdict
from batchrun.report.specs import Bar, bars
from batchrun.run_folder.folder import RunFolder
from batchrun.show.conversation import Part, Turn
from tests.commands import batchrun
from tests.hostile import ALL, harmless_ones, hostile_run, obeyed, storable
from tests.run_folder.answering import Work, failed
from tests.small_files import files_of_at_most

VOID = frozenset({"meta", "input", "br", "img", "link", "base", "embed", "source"})


class Tree(HTMLParser):
    """The elements of a page with their attributes, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.values: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(f"{'/'.join(self.open)}/{tag} {' '.join(name for name, _ in attrs)}")
        self.values += [value or "" for _, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        self.elements.append("text") if data.strip() and self.elements[-1] != "text" else None

    def handle_comment(self, data: str) -> None:
        self.elements.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.elements.append(f"declaration {decl}")

    def unknown_decl(self, data: str) -> None:
        self.elements.append("section")

    def handle_pi(self, data: str) -> None:
        self.elements.append("instruction")


def said(text: str) -> Gathered:
    """A report whose every text is the same."""
    row = Row(
        index=0,
        row_id=text,
        kind=text,
        is_ok=False,
        gist=text,
        turns=(Turn(text, (Part(text, text, text), Part(text, text, "note"))),),
        took=text,
    )
    return Gathered(
        name=text,
        state=text,
        facts=((text, text),),
        checks=(Verdict(True, text, ""), Verdict(False, text, text)),
        charts=(Chart(text, text, bars([Bar(text, (1.0, 2.0), "3")], names=["a", "b"])),),
        charts_note=text,
        failures=(Failure(text, 1, text),),
        failed=1,
        rows=(row, replace(row, is_ok=True, kind="ok")),
        failures_left_out=3,
        others_left_out=4,
    )


def tree(found: Gathered, made: str = "harmless") -> Tree:
    return Tree(page(found, made=made).decode())


@pytest.mark.parametrize("text", ALL, ids=ascii)
def test_data_is_text_in_every_place(text: str) -> None:
    """With a hostile text everywhere the page has the elements and attributes that it has with any text."""
    text = f"x{storable(text)}"
    hostile = tree(said(text), text)
    assert hostile.elements == tree(said("harmless")).elements
    assert hostile.open == []


@pytest.mark.long
@settings(deadline=None)  # the first chart of a process takes a while
@given(st.text(alphabet=st.sampled_from("<>\"'&/=`-! ascriptlonx\x00\n;#{}%"), min_size=1))
def test_no_text_makes_an_element(text: str) -> None:
    """Whatever it is put together of; a text of white space alone is no text to see."""
    text = f"x{text}"
    assert tree(said(text)).elements == tree(said("harmless")).elements


@pytest.mark.long
@pytest.mark.parametrize("half", [0, 1])
def test_a_run_full_of_hostile_texts(tmp_path: Path, half: int) -> None:
    """From its columns, names and members to the page: the same elements as of harmless rows. Half of them at
    a time, which a report shows whole."""
    texts, pages = ALL[half::2], []
    for number, written in enumerate((texts, harmless_ones(texts))):
        run = hostile_run(tmp_path / str(number), written)
        assert batchrun("report", run.path, cwd=tmp_path).code == 0
        pages.append((run.path / "report.html").read_bytes().decode())
        assert obeyed(pages[-1], terminal=False) == []
    hostile, harmless = map(Tree, pages)
    assert [e for e in hostile.elements if e != "text"] == [e for e in harmless.elements if e != "text"]
    script = "<script>document.title='x'</script>"
    assert (script in "".join(hostile.texts)) is any(script in text for text in texts)


def test_nothing_but_its_own_style_and_script_may_act(tmp_path: Path) -> None:
    """The policy names both by their hashes, before anything else; there is no handler, link or style
    beside them."""
    text = page(said("harmless"), made="now").decode()
    seen = Tree(text)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert text.index(policy[0]) < text.index("<style>")
    blocks = {name: re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL) for name in ("style", "script")}
    hashes = {
        name: [base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in found]
        for name, found in blocks.items()
    }
    assert policy[1] == (
        f"default-src 'none'; style-src 'sha256-{hashes['style'][0]}'; "
        f"script-src 'sha256-{hashes['script'][0]}'; base-uri 'none'; form-action 'none'"
    )
    assert [len(found) for found in hashes.values()] == [1, 1]
    names = {name for element in seen.elements if " " in element for name in element.split(" ")[1:]}
    assert not {name for name in names if name.startswith("on") or name in ("style", "href", "src", "action")}


def test_what_a_report_says(tmp_path: Path) -> None:
    """How many rows there are, what failed with an example, and each failed row as a conversation."""
    work = Work(tmp_path).write([{"text": f"question {n}"} for n in range(6)])
    work.answer([0, 1, 3])
    work.answer([2], failed)
    work.publish()
    work.answer([4])
    found = gather(work.run)
    assert dict(found.facts)["rows"] == "4 ok, 1 failed, 1 pending"
    assert found.failures == (Failure("invalid_request", 1, "it failed"),)
    assert [(row.row_id, row.kind) for row in found.rows] == [
        *(("0", "ok"), ("1", "ok"), ("2", "invalid_request"), ("3", "ok"), ("4", "ok")),
    ]
    assert found.rows[0].gist == "answer 1"
    assert found.rows[2].turns == (
        Turn("input", (Part("question 2", "text: "),)),
        Turn("error", (Part("invalid_request: it failed", kind="error"),)),
    )


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    """A report has so many failed rows and a sample of the others; each text is cut, and says so."""
    work = Work(tmp_path).write([{"text": "x" * 5_000} for n in range(40)])
    work.answer(range(20))
    work.answer(range(20, 40), failed)
    work.publish()
    found = gather(work.run, failures=7, sample=5)
    assert (len(found.rows), found.failures_left_out, found.others_left_out) == (12, 13, 15)
    text = page(found, made="now").decode()
    assert "Failed rows that are left out: 13." in text
    assert "left out: 15." in text
    assert "… (3,000 more characters)" in text
    assert gather(work.run, failures=7, sample=5).rows == found.rows


def test_where_a_report_goes(tmp_path: Path) -> None:
    """Into the run folder, for nobody else to read; or to --out, which is no other file of the run."""
    work = Work(tmp_path).write([{"text": "a"}])
    work.answer([0])
    work.publish()
    ended = batchrun("report", work.run.path, "--json", cwd=tmp_path)
    path = work.run.path / "report.html"
    assert ended.json == {
        "report": str(path),
        "rows": 1,
        "charts": 1,
        "left_out": {"failed": 0, "ok": 0},
        "bytes": path.stat().st_size,
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert batchrun("report", work.run.path, "--out", "x.html", cwd=tmp_path).out == "x.html\n"
    assert (tmp_path / "x.html").read_bytes()[:400] == path.read_bytes()[:400]
    identity, before = work.run.identity_path, work.run.identity_path.read_bytes()
    assert batchrun("report", work.run.path, "--out", identity, cwd=tmp_path).code == 2
    assert identity.read_bytes() == before
    assert batchrun("submit", work.run.path, cwd=tmp_path).code == 2


def test_a_report_of_a_run_without_an_answer(tmp_path: Path) -> None:
    """There is nothing to see, and that is what it says."""
    run = RunFolder(tmp_path / "run")
    run.claim("job")
    found = gather(run)
    assert (found.state, found.rows, found.failures) == ("not started", (), ())
    assert "0 of 0" in page(found, made="now").decode()


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A report spends nothing: it needs room, and no other submit."""
    work = Work(tmp_path).write([{"text": "a"}])
    work.answer([0])
    work.publish()
    with files_of_at_most(4096):
        ended = batchrun("report", work.run.path)
    assert (ended.code, "make room" in ended.err, "submit" in ended.err) == (3, True, False)
    assert not (work.run.path / "report.html").exists()


def test_a_row_of_many_long_texts_is_cut_as_a_whole(tmp_path: Path) -> None:
    """Not each of its texts alone: ten columns of 2,000 characters are no more than one row may take."""
    work = Work(tmp_path).write([{"text": "a", **{f"c{n}": chr(97 + n) * 2_000 for n in range(10)}}])
    work.answer([0])
    work.publish()
    [row] = gather(work.run).rows
    texts = [part.text.partition(" … (")[0] for turn in row.turns for part in turn.parts]
    assert sum(map(len, texts)) == 8_000
    assert max(map(len, texts)) == 2_000
    told = "".join(part.text for turn in row.turns for part in turn.parts)
    assert "… (2,000 more characters)" in told


def test_standard_output_and_json_exclude_each_other(tmp_path: Path) -> None:
    """There is one standard output."""
    work = Work(tmp_path).write([{"text": "a"}])
    work.answer([0])
    for verb in ("report", "export"):
        ended = batchrun(verb, work.run.path, "--out", "-", "--json", cwd=tmp_path)
        assert (ended.code, "--out FILE" in ended.err) == (2, True), ended.err
