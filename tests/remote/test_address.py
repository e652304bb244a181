"""Addresses in object storage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.storage import Address, copy_path, is_remote

_PART = st.text(
    st.characters(exclude_characters="/", exclude_categories=["Cs", "C", "Z"]), min_size=1
).filter(lambda part: part not in (".", ".."))
_BUCKET = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,40}", fullmatch=True)


@given(st.sampled_from(["s3", "gs", "az"]), _BUCKET, st.lists(_PART, max_size=4))
def test_an_address_is_read_as_it_is_written(scheme: str, bucket: str, parts: list[str]) -> None:
    """Also keys of spaces, quotes and percent signs: they stand for themselves."""
    place = Address(scheme, bucket, "/".join(parts))
    assert is_remote(str(place))
    assert Address.parse(str(place)) == place


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("http://bucket/key", "no address in object storage: those begin with s3://, gs://, az://"),
        ("s3://", "names no bucket"),
        ("s3:///key", "names no bucket"),
        ("s3://key:hunter2@bucket/key", "names no bucket"),
        ("s3://bucket/a//b", "empty parts"),
        ("s3://bucket/a/../b", "empty parts"),
        ("s3://bucket/a\nb", "control characters"),
    ],
)
def test_what_is_no_address_says_why(text: str, wrong: str) -> None:
    """And repeats nothing that might be a password."""
    with pytest.raises(ValueError, match=wrong) as caught:
        Address.parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["rows.jsonl", "/data/rows.jsonl", "a/b://c", "C:/rows.jsonl", "s3:/x"])
def test_paths_of_this_machine_are_no_addresses(text: str) -> None:
    """Only a scheme makes one."""
    assert not is_remote(text)


def test_each_run_has_a_local_copy_of_its_own() -> None:
    """Under the run's own name, so that it is called alike on every machine."""
    first, second = Address("s3", "a", "runs/x"), Address("s3", "b", "runs/x")
    paths = [copy_path(place, {"HOME": "/home/somebody"}) for place in (first, second)]
    assert len(set(paths)) == 2
    assert {path.name for path in paths} == {"x"}
    assert paths[0].is_relative_to("/home/somebody/.local/state/batchrun")
    assert copy_path(first, {"XDG_STATE_HOME": "/elsewhere"}).is_relative_to(Path("/elsewhere/batchrun"))
