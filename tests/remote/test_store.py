"""Objects in a store, also where the network is bad."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchrun.errors import ObjectStorageError
from batchrun.storage import Address, ChangedObjectError, ConflictError, Patience, open_object, open_store
from tests.remote.server import Between, Fault

HASTY = Patience(retries=2, total=5.0, request=5.0)


@pytest.mark.parametrize("key", ["a b", "a%20b", "é'\"#?&=+", "~{}[]^|", "back\\slash", "日本", "a/b/c"])
def test_a_key_stands_for_itself(bucket: Address, key: str) -> None:
    """Nothing in it is taken for an escape, a pattern or a part of a URL."""
    store = open_store(bucket.below("runs/x y%20z"))
    store.write(key, b"1")
    assert store.read(key) == b"1"
    assert [item.key for item in store.listing()] == [key]
    assert [item.key for item in open_store(bucket).listing("runs")] == [f"runs/x y%20z/{key}"]
    store.remove([key, key])
    assert store.read(key) is None


def test_an_object_is_created_once(bucket: Address) -> None:
    """Of many that try at the same time one does it."""
    store, made, refused = open_store(bucket), [], []

    def create(number: int) -> None:
        try:
            made.append(store.create("lease", b"%d" % number))
        except ConflictError:
            refused.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 7)


def test_an_object_is_replaced_only_as_it_was_read(bucket: Address) -> None:
    """Whoever has read an older writing of it is refused."""
    store = open_store(bucket)
    first = store.create("manifest", b"1")
    second = store.replace("manifest", b"2", first)
    with pytest.raises(ConflictError):
        store.replace("manifest", b"3", first)
    store.remove(["manifest"])
    with pytest.raises(ConflictError):
        store.replace("manifest", b"4", second)


def _once(fault: Fault) -> Callable[[str, str], Fault | None]:
    """A fault for the first write alone."""
    left = [fault]
    return lambda method, _path: left.pop() if method == "PUT" and left else None


@pytest.mark.parametrize("fault", ["refused", "lost", "reset"])
def test_a_conditional_write_is_done_once_whatever_becomes_of_its_answer(
    bucket: Address, faulty: Between, fault: Fault
) -> None:
    """One that was done although its answer was lost is not taken for somebody else's."""
    store = open_store(bucket, HASTY)
    faulty.fault = _once(fault)
    first = store.create("lease", b"mine")
    assert faulty.faults == 1
    faulty.fault = _once(fault)
    second = store.replace("lease", b"mine still", first)
    assert faulty.faults == 2
    assert store.read_version("lease") == (b"mine still", second)


@pytest.mark.parametrize(
    ("fault", "said"),
    [("refused", "503"), ("reset", "cannot read s3"), ("denied", r"refused \(403 Forbidden\)")],
)
def test_a_store_that_does_not_answer_is_an_error_of_ours(
    bucket: Address, faulty: Between, fault: Fault, said: str
) -> None:
    """It names the object, and what to do; only what cannot pass by itself counts as a wrong command."""
    store = open_store(bucket, HASTY)
    faulty.fault = lambda _method, _path: fault
    with pytest.raises(ObjectStorageError, match=said) as caught:
        store.read("x")
    assert str(bucket.below("x")) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == (2 if fault == "denied" else 3)


def test_a_bucket_that_is_not_there_is_named(bucket: Address) -> None:
    """Whatever was to be done with it."""
    nowhere = Address("s3", "no-such-bucket-here", "runs/x")
    store = open_store(nowhere)
    for act in (
        lambda: store.read("x"),
        lambda: list(store.listing()),
        lambda: store.write("x", b""),
        lambda: store.create("x", b""),
    ):
        with pytest.raises(
            ObjectStorageError, match="s3://no-such-bucket-here: there is no such bucket"
        ) as caught:
            act()
        assert caught.value.exit_code == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 320), st.integers(0, 320)), max_size=8),
    st.integers(1, 64),
)
def test_an_object_reads_like_a_file(
    bucket: Address, data: bytes, reads: list[tuple[int, int]], buffer: int
) -> None:
    """Wherever one seeks, however much one asks for."""
    store = open_store(bucket)
    version = store.write("data", data)
    with open_object(store, "data", len(data), version, buffer) as file:
        for start, size in reads:
            file.seek(start)
            assert file.read(size) == data[start : start + size]
        file.seek(0)
        assert file.read() == data


def test_an_object_that_is_written_anew_is_not_read_on(bucket: Address) -> None:
    """The beginning of one and the end of the other would be a table that never was."""
    store = open_store(bucket)
    version = store.write("data", b"a" * 100)
    with open_object(store, "data", 100, version, 10) as file:
        assert file.read(10) == b"a" * 10
        store.write("data", b"b" * 100)
        with pytest.raises(ChangedObjectError):
            file.read(50)


def test_an_object_is_copied_into_a_file(bucket: Address, tmp_path: Path) -> None:
    """Whole, after what is there; one that is missing is an error."""
    store = open_store(bucket)
    store.write("data", b"x" * 9_000_000)
    store.fetch("data", tmp_path / "file")
    store.fetch("data", tmp_path / "file")
    assert (tmp_path / "file").stat().st_size == 18_000_000
    with pytest.raises(ObjectStorageError, match="data-not-there"):
        store.fetch("data-not-there", tmp_path / "other")


def test_no_credential_is_in_an_error(
    bucket: Address, faulty: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers quote what they refuse: only their code and status are told."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-token")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    faulty.fault = lambda _method, _path: "denied"
    with pytest.raises(ObjectStorageError) as caught:
        open_store(bucket, HASTY).read("x")
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "canary" not in repr([str(error) for error in chain if error])


@pytest.mark.parametrize("url", ["http://user:canary@127.0.0.1:9", "http://127.0.0.1:9/?token=canary"])
def test_no_password_in_a_servers_url_is_in_an_error(
    bucket: Address, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """The URL that could not be reached is told without it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(ObjectStorageError, match=r"127\.0\.0\.1:9") as caught:
        open_store(bucket, Patience(retries=0, total=1.0, request=1.0)).read("x")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["nonsense", "http://[::1", "http://host:port", "ftp://canary", "localhost:9000"]
)
def test_what_is_no_url_of_a_server_is_named(
    bucket: Address, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """By its variable, before anything is sent."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(ObjectStorageError, match="AWS_ENDPOINT_URL is no URL") as caught:
        open_store(bucket)
    assert caught.value.exit_code == 2
