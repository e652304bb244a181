"""A canary key in one run, given in an environment variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.canary import KEYS, WAYS, Found, Trial, with_functions
from tests.reliability.echo import CASES, echoing
from tests.reliability.searched import files_with, holds
from tests.spellings import SPELLINGS


@pytest.mark.long
def test_a_key_that_is_quoted_in_every_answer_is_in_no_file(tmp_path: Path) -> None:
    """In all places of an answer and all spellings; what is printed and exported has it as little."""
    found = Found()
    with echoing() as echo:
        trial = Trial(tmp_path / "job", echo, WAYS[0], KEYS[1], found)
        trial.write(len(CASES), "small")
        trial.run("submit", code=1)
        trial.run("show", "--json", code=0, job=False)
        trial.search()
        assert echo.sent == {KEYS[1]}
    assert found.wrong == []
    assert found.hidden > len(CASES) // 2


def test_a_function_that_raises_the_key_does_not_give_it_away(tmp_path: Path) -> None:
    """Not to the model, and not in the error of a module, or of a bug, that ends the run."""
    found = Found()
    with echoing() as echo:
        with_functions(tmp_path, echo, WAYS[0], KEYS[0], found)
    assert found.wrong == []
    assert found.hidden > 0


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("key", KEYS)
def test_the_search_finds_a_key_in_every_spelling(key: str, spelling: str, tmp_path: Path) -> None:
    """Else no hit would mean nothing."""
    assert holds(key, f"x {SPELLINGS[spelling](key)} y")
    (tmp_path / "file").write_text(SPELLINGS[spelling](key))
    assert files_with(key, tmp_path) == [str(tmp_path / "file")]
    assert not holds(key, "sk-ca...Rb6N " * 20)
