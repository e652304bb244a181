"""The summary on the page of a GitHub Actions job."""

from __future__ import annotations

from pathlib import Path

from tests.runs import simulated


def test_a_submit_appends_to_the_step_summary(tmp_path: Path) -> None:
    """A table of counts after what was there; names do not act as markup."""
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    with simulated(tmp_path, rows=3, config={"faults": [{"status": 400}]}) as job:
        ended = job.submit("--name", "a_b", env={"GITHUB_STEP_SUMMARY": str(page)})
    assert ended.code == 1, ended.err
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", "### batchrun: a\\_b finished"]
    assert "| rows | 0 ok, 3 failed |" in lines
    assert any(line.startswith("| failed | 3 invalid\\_request: correct the row") for line in lines)
    assert lines[-2:] == ["| exit code | 1 |", ""]


def test_a_page_that_cannot_be_written_does_not_change_the_outcome(tmp_path: Path) -> None:
    """It is said, and the exit code is the run's."""
    with simulated(tmp_path, rows=2) as job:
        ended = job.submit("--json", env={"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "page")})
    assert ended.code == 0
    assert "cannot write the step summary" in ended.err
