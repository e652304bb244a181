"""Inputs that are wrong, odd or hostile end as they must, and nothing in them is changed."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.corpus import csv_tables, jobs, json_documents, media, predicates, strings, templates
from tests.reliability.corpus.case import Case
from tests.reliability.inputs import ask, every_case, look

SLOW = ("5 MB", "many", "bomb", "9999", "IN (2,3", "10,0", "texts of 2 MB", "1 MB")
"""In the names of cases that take more than a tenth of a second."""


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    """There are at least 400 inputs, of which 120 and more are single JSON values; no two have one name."""
    corpus = [(case.group, case.name) for case in every_case()]
    assert len(corpus) >= 400
    assert sum(group.startswith("JSON ") for group, _ in corpus) >= 120
    assert len(set(corpus)) > 0.95 * len(corpus)


def test_each_input_ends_as_it_must(tmp_path: Path) -> None:
    """Read and rendered, bad rows fail with their line, bad files are refused, values stay what they are."""
    modules = (json_documents, csv_tables, strings, jobs, templates, media, predicates)
    quick = [case for module in modules for case in module.cases() if _is_quick(case)]
    assert look(quick[::4], tmp_path).wrong == []


def test_values_reach_the_request_and_the_results_unchanged(tmp_path: Path) -> None:
    """By the simulator's ledger and by the results' files."""
    values = [case for case in json_documents.cases() if case.values is not None and _is_quick(case)]
    assert ask(values[::60], tmp_path).wrong == []


def _is_quick(case: Case) -> bool:
    return not case.alone and not any(word in case.name for word in SLOW)
