"""The client of stored completions, against servers that are as the API says, and that are not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from batchrun.clock import SystemClock
from batchrun.endpoints.endpoints import open_resources
from batchrun.errors import BatchrunError, EndpointError, UsageError
from batchrun.simulator import SimulatorConfig
from batchrun.stored import (
    Change,
    Filters,
    Place,
    chosen_ids,
    delete,
    get,
    list_pages,
    messages,
    pairs_of,
    place_named,
    update,
)
from batchrun.stored.api import StoredCompletions
from tests.simulators import start_simulator
from tests.stored.servers import QUICK, Answer, Asked, Document, make, make_each, scripted

MANY = 230


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[Place, list[str]]]:
    """A simulator that keeps MANY completions: every third of model large, each of tens with a label."""
    with start_simulator(SimulatorConfig.model_validate(QUICK)) as base_url:
        wanted = [
            ("large" if count % 3 == 0 else "small", {"tens": str(count // 10), "parity": str(count % 2)})
            for count in range(MANY)
        ]
        yield place_named(base_url, None, {}), make_each(base_url, wanted)


def listed(place: Place, filters: Filters = Filters(), limit: int | None = None) -> list[Document]:  # noqa: B008
    """What a list holds, of all pages."""
    found: list[Document] = []
    count = list_pages(place, {}, filters, limit, found.extend)
    assert count == len(found)
    return found


def ids_of(found: list[Document]) -> list[str]:
    return [one["id"] for one in found]


FILTERS: dict[str, tuple[Filters, slice]] = {
    "all": (Filters(), slice(None)),
    "newest first": (Filters(order="desc"), slice(None, None, -1)),
    "of a model": (Filters(model="large"), slice(0, None, 3)),
    "with a label": (Filters(metadata={"tens": "3"}), slice(30, 40)),
    "with two labels": (Filters(metadata={"tens": "3", "parity": "1"}), slice(31, 40, 2)),
    "of nothing": (Filters(metadata={"tens": "none"}), slice(0, 0)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_list_has_what_is_asked_for(kept: tuple[Place, list[str]], name: str) -> None:
    """Of all pages, in the order of their times; a limit cuts it, wherever a page ends."""
    place, ids = kept
    filters, chosen = FILTERS[name]
    assert ids_of(listed(place, filters)) == ids[chosen]
    for limit in (1, 7, 100, 101):
        assert ids_of(listed(place, filters, limit)) == ids[chosen][:limit]


def test_a_list_goes_on_after_one_of_its_own(kept: tuple[Place, list[str]]) -> None:
    """In either direction, with filters too."""
    place, ids = kept
    assert ids_of(listed(place, Filters(after=ids[99]))) == ids[100:]
    assert ids_of(listed(place, Filters(after=ids[3], order="desc"))) == ids[2::-1]
    assert ids_of(listed(place, Filters(after=ids[33], metadata={"tens": "3"}))) == ids[34:40]


def test_an_id_that_the_list_has_not_is_refused(kept: tuple[Place, list[str]]) -> None:
    """The endpoint's own words are told, and the same again would not help."""
    with pytest.raises(EndpointError, match="cannot list the stored completions") as raised:
        listed(kept[0], Filters(after="chatcmpl-nothing"))
    assert raised.value.exit_code == 2


def test_one_is_read_with_its_messages(kept: tuple[Place, list[str]]) -> None:
    """The document as it is listed, and what was asked, in its order or the last first."""
    place, ids = kept
    assert get(place, {}, ids[5]) == listed(place, Filters(), 6)[5]
    for order, roles in ((None, ["system", "user"]), ("desc", ["user", "system"])):
        said: list[Document] = []
        messages(place, {}, ids[5], order, said.extend)
        assert [one["role"] for one in said] == roles


@pytest.mark.parametrize("verb", ["get", "messages", "update"])
def test_an_id_that_nothing_has_is_told(kept: tuple[Place, list[str]], verb: str) -> None:
    """With the id, and how to see which there are."""
    place = kept[0]
    verbs: dict[str, Callable[[], object]] = {
        "get": lambda: get(place, {}, "chatcmpl-no"),
        "messages": lambda: messages(place, {}, "chatcmpl-no", None, lambda page: None),
        "update": lambda: update(place, {}, "chatcmpl-no", Change({"a": "b"})),
    }
    with pytest.raises(EndpointError, match="no stored completion chatcmpl-no") as raised:
        verbs[verb]()
    assert "nothing of that name or kind there" in raised.value.message
    assert "base_url" not in raised.value.message
    assert "stored list" in (raised.value.hint or "")


@pytest.mark.parametrize("wrong", ["", ".", "..", " ", "a\nb"])
def test_what_is_no_id_reaches_no_other_path(wrong: str) -> None:
    """An empty one would be the list, two dots the path above; nothing is sent."""
    with scripted(lambda asked: (200, {})) as server:
        place = place_named(server.url, None, {})
        for verb in (lambda: get(place, {}, wrong), lambda: delete(place, {}, ["ok", wrong])):
            with pytest.raises(UsageError, match="no id"):
                verb()
    assert server.asked == []


def test_an_id_is_one_part_of_the_path() -> None:
    """Whatever stands in it."""
    with scripted(lambda asked: (200, {"deleted": True})) as server:
        delete(place_named(server.url, None, {}), {}, ["a/../b?c"])
    assert [asked.path for asked in server.asked] == ["/chat/completions/a%2F..%2Fb%3Fc"]


CHANGES: dict[str, tuple[Change, dict[str, str]]] = {
    "set": (Change({"c": "3"}), {"a": "1", "b": "2", "c": "3"}),
    "replaced": (Change({"a": "9"}), {"a": "9", "b": "2"}),
    "taken away": (Change({"a": ""}), {"b": "2"}),
    "taken away, and was not there": (Change({"z": ""}), {"a": "1", "b": "2"}),
    "cleared": (Change({}, clear=True), {}),
    "replaced by one": (Change({"c": "3"}, clear=True), {"c": "3"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_labels_are_changed_and_the_others_stay(kept: tuple[Place, list[str]], name: str) -> None:
    """The completion as it is then says so, and so does the endpoint."""
    place = kept[0]
    change, after = CHANGES[name]
    (made,) = make(str(place.endpoint.base_url), a="1", b="2")
    try:
        assert update(place, {}, made, change)["metadata"] == after
        assert get(place, {}, made)["metadata"] == after
    finally:
        delete(place, {}, [made])


LIMITS: dict[str, tuple[dict[str, str], str | None]] = {
    "most pairs": ({f"k{n}": "v" for n in range(16)}, None),
    "too many pairs": ({f"k{n}": "v" for n in range(17)}, "17 pairs"),
    "longest key": ({"k" * 64: "v"}, None),
    "too long a key": ({"k" * 65: "v"}, "65 characters"),
    "longest value": ({"k": "v" * 512}, None),
    "too long a value": ({"k": "v" * 513}, "513 characters"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_labels_are_held_to_their_limits_before_anything_is_sent(name: str) -> None:
    """The most that the API takes goes through."""
    pairs, wrong = LIMITS[name]
    with scripted(lambda asked: (200, {"id": "x", "metadata": {}})) as server:
        place = place_named(server.url, None, {})
        if wrong is None:
            update(place, {}, "x", Change(pairs))
            assert [asked.method for asked in server.asked] == ["GET", "POST"]
            return
        with pytest.raises(UsageError, match=wrong):
            update(place, {}, "x", Change(pairs))
    assert server.asked == []


def test_labels_that_become_too_many_with_those_there_are_not_sent() -> None:
    """They are known only when the completion was read."""
    there = {f"k{n}": "v" for n in range(16)}
    with (
        scripted(lambda asked: (200, {"id": "x", "metadata": there})) as server,
        pytest.raises(UsageError, match="17 pairs"),
    ):
        update(place_named(server.url, None, {}), {}, "x", Change({"one": "more"}))
    assert [asked.method for asked in server.asked] == ["GET"]


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_a_label_needs_key_and_value(text: str) -> None:
    """With an equals sign between; the value may hold more of them, or be empty."""
    with pytest.raises(UsageError, match="no key and value"):
        pairs_of([text])
    assert pairs_of(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def paged(items: list[Document], size: int, **members: Any) -> Any:
    """Answers with pages of `size`, and these members beside the list."""

    def answer(asked: Asked) -> Answer:
        ids = ids_of(items)
        start = ids.index(asked.query["after"]) + 1 if "after" in asked.query else 0
        return 200, {"object": "list", "data": items[start : start + size], **members}

    return answer


ITEMS: list[Document] = [{"id": f"c{n}", "metadata": {"run": str(n % 2)}} for n in range(5)]


def test_a_server_that_does_not_say_whether_there_is_more_is_asked_until_nothing_comes() -> None:
    """It may give smaller pages than it was asked for."""
    with scripted(paged(ITEMS, 2)) as server:
        assert listed(place_named(server.url, None, {})) == ITEMS
    assert [asked.query.get("after") for asked in server.asked] == [None, "c1", "c3", "c4"]


def test_a_server_that_gives_the_same_page_again_is_not_asked_for_ever() -> None:
    """It does not know `after`."""
    with (
        scripted(lambda asked: (200, {"data": ITEMS, "has_more": True})) as server,
        pytest.raises(EndpointError, match="ends with c4"),
    ):
        listed(place_named(server.url, None, {}))
    assert len(server.asked) == 2


def test_half_a_character_becomes_a_replacement() -> None:
    """In ids, too: nothing else could be shown, asked for or written."""
    body = b'{"data": [{"id": "a\\ud800", "metadata": {"\\ud800": "\\udfff"}}], "has_more": false}'
    with scripted(lambda _: (200, body)) as server:
        (found,) = listed(place_named(server.url, None, {}))
    assert found == {"id": "a\ufffd", "metadata": {"\ufffd": "\ufffd"}}


@pytest.mark.parametrize("body", [{}, {"id": 5}, {"data": []}])
def test_a_completion_without_an_id_is_not_understood(body: Document) -> None:
    """The server answers otherwise than the API, and says so itself."""
    with scripted(lambda _: (200, body)) as server, pytest.raises(EndpointError, match="has no id"):
        get(place_named(server.url, None, {}), {}, "c1")


@pytest.mark.parametrize("metadata", ["x", ["x"], 5])
def test_labels_that_are_none_are_replaced(metadata: Any) -> None:
    """A server's own idea of metadata is no reason to end."""
    with scripted(lambda _: (200, {"id": "c1", "metadata": metadata})) as server:
        assert update(place_named(server.url, None, {}), {}, "c1", Change({"a": "b"}))["id"] == "c1"


def test_pages_that_go_round_in_a_ring_are_not_asked_for_ever() -> None:
    """A completion that a page has ended with ends no other; nothing is given twice."""
    after = {None: "a", "a": "b", "b": "c", "c": "a"}
    given: list[Document] = []

    def answer(asked: Asked) -> Answer:
        return 200, {"data": [{"id": after[asked.query.get("after")]}], "has_more": True}

    with scripted(answer) as server, pytest.raises(EndpointError, match="ends with a, which came before"):
        list_pages(place_named(server.url, None, {}), {}, Filters(), None, given.extend)
    assert ids_of(given) == ["a", "b", "c"]
    assert len(server.asked) == 4


def test_a_server_that_passes_a_filter_over_is_corrected() -> None:
    """What has other labels is not shown, and never deleted."""
    filters = Filters(metadata={"run": "1"})
    with scripted(paged(ITEMS, 2)) as server:
        place = place_named(server.url, None, {})
        assert ids_of(listed(place, filters)) == ["c1", "c3"]
        assert ids_of(listed(place, filters, 1)) == ["c1"]
        assert chosen_ids(place, {}, filters) == ["c1", "c3"]


def test_what_does_not_show_its_labels_is_listed_and_never_chosen_for_deletion() -> None:
    """The server's word is enough to look at it, and not enough to delete it."""
    items: list[Document] = [
        {"id": "c0"},
        {"id": "c1", "metadata": None},
        {"id": "c2", "metadata": {"run": "1"}},
    ]
    filters = Filters(metadata={"run": "1"})
    with scripted(paged(items, 9, has_more=False)) as server:
        place = place_named(server.url, None, {})
        assert ids_of(listed(place, filters)) == ["c0", "c2"]
        assert chosen_ids(place, {}, filters) == ["c2"]


ODD: dict[str, tuple[int, Any, str, int]] = {
    "no such path": (404, {"detail": "Not Found"}, "has no stored completions", 2),
    "no such method": (405, {"detail": "Method Not Allowed"}, "has no stored completions", 2),
    "not made": (501, b"", "has no stored completions", 2),
    "a wrong key": (
        401,
        {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}},
        "refuses the",
        4,
    ),
    "no permission": (403, {"error": {"message": "missing scope"}}, "refuses the key", 4),
    "a page": (200, b"<html>", "no JSON object", 2),
    "no list": (200, {"models": []}, "no list", 2),
    "no ids": (200, {"data": [{"name": "x"}]}, "has an id", 2),
    "a wrong request": (400, {"error": {"message": "limit is too large"}}, "limit is too large", 2),
    "no money": (429, {"error": {"message": "no", "code": "insufficient_quota"}}, "status 429", 3),
}


@pytest.mark.parametrize("name", ODD)
def test_what_a_server_answers_otherwise_is_told(name: str) -> None:
    """What happened, with an exit code that says whether it helps to come again; asked once."""
    status, body, said, code = ODD[name]
    with scripted(lambda asked: (status, body)) as server:
        with pytest.raises(EndpointError, match=said) as raised:
            listed(place_named(server.url, None, {}))
        assert raised.value.exit_code == code
    assert len(server.asked) == 1


class Instant(SystemClock):
    """A clock by which no wait takes time; it remembers them."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def without_waiting(base_url: str, scene: Callable[[StoredCompletions], Awaitable[None]]) -> list[float]:
    """Play a scene; the seconds that were waited between requests."""
    place, clock = place_named(base_url, None, {}), Instant()

    async def play() -> None:
        async with open_resources(place.endpoint, {}) as resources:
            await scene(StoredCompletions(place, resources, clock))

    anyio.run(play)
    return clock.waits


PASSING = [429, 500, 502, 503]


@pytest.mark.parametrize("status", PASSING)
def test_what_passes_is_waited_out(status: int) -> None:
    """A list, a change and a deletion go well in the end."""

    def answer(asked: Asked) -> Answer:
        refused = sum(one == asked for one in server.asked) <= 2
        document = {"id": "x", "metadata": {}, "deleted": True, "data": [], "has_more": False}
        return (status, b"", {"retry-after-ms": "1"}) if refused else (200, document)

    async def scene(stored: StoredCompletions) -> None:
        assert [page async for page in stored.pages(Filters())] == [[]]
        assert (await stored.update("x", {}))["id"] == "x"
        assert await stored.delete("x")

    with scripted(answer) as server:
        waits = without_waiting(server.url, scene)
    assert len(server.asked) == 9
    assert len(waits) == 6


def test_what_does_not_pass_ends_after_some_attempts() -> None:
    """And can be tried later."""

    async def scene(stored: StoredCompletions) -> None:
        with pytest.raises(EndpointError, match="status 503") as raised:
            await stored.get("x")
        assert raised.value.exit_code == 3

    with scripted(lambda asked: (503, b"", {"retry-after": "2"})) as server:
        assert min(without_waiting(server.url, scene)) >= 2
    assert len(server.asked) == 5


def test_a_server_that_wants_to_be_left_alone_for_long_is_not_waited_for() -> None:
    """An hour is told, not slept."""
    with (
        scripted(lambda asked: (429, b"", {"retry-after": "3600"})) as server,
        pytest.raises(EndpointError, match="status 429"),
    ):
        listed(place_named(server.url, None, {}))
    assert len(server.asked) == 1


def test_many_are_deleted_and_what_is_gone_is_counted_apart(kept: tuple[Place, list[str]]) -> None:
    """Each once, and no other."""
    place, ids = kept
    made = make(str(place.endpoint.base_url), 30)
    done = delete(place, {}, [*made, "chatcmpl-gone"])
    assert (done.count, done.missing) == (30, ["chatcmpl-gone"])
    assert ids_of(listed(place)) == ids


def test_a_deletion_that_stops_says_how_far_it_came() -> None:
    """The same command deletes the rest."""

    def answer(asked: Asked) -> Answer:
        return (400, {"error": {"message": "not this one"}}) if asked.path.endswith("c3") else (200, {})

    with (
        scripted(answer) as server,
        pytest.raises(EndpointError, match=r"not this one.*; \d of 4 were deleted before") as raised,
    ):
        delete(place_named(server.url, None, {}), {}, ["c0", "c1", "c2", "c3"])
    assert raised.value.hint


WRONG_PLACES = {
    "opnai": "Did you mean openai",
    "simulator": "nothing stays there",
    "http://u:p@x/v1": "must not hold a user",
    "ftp://x": "must be one URL",
}


@pytest.mark.parametrize("named", WRONG_PLACES)
def test_an_endpoint_that_cannot_be_is_refused(named: str) -> None:
    """And nothing of what may be a key is said again."""
    with pytest.raises(BatchrunError, match=WRONG_PLACES[named]) as raised:
        place_named(named, None, {})
    assert "u:p" not in str(raised.value)


def test_a_key_goes_to_no_other_machine_unencrypted() -> None:
    """A URL has a key only where a variable is named."""
    with pytest.raises(UsageError, match="unencrypted"):
        place_named("http://example.com/v1", "MY_KEY", {})
    assert place_named("http://example.com/v1", None, {}).endpoint.api_key_env is None
    with pytest.raises(UsageError, match="never the key itself"):
        place_named("https://example.com/v1", "sk-123456789012345678901234", {})
