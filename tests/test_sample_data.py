"""The sample tables are what their script makes, and hold what the sample jobs ask of them."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import wave
import zlib
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.source import open_source

FOLDER = Path(__file__).parents[1] / "sample_data"
TICKET_KEYS = {
    "ticket_id", "created_at", "lang", "subject", "body", "channel", "customer_tier", "gold_label", "stars",
    "max_tokens",
}  # fmt: skip
TEXTS = (
    "tickets.jsonl", "reviews.csv", "batch.jsonl", "conversations.jsonl", "contacts.jsonl", "trips.csv",
)  # fmt: skip
LABELS = {"billing", "bug", "shipping", "account", "feature_request", "other"}


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables as a fresh process makes them, started elsewhere and with another hash seed."""
    folder = tmp_path_factory.mktemp("sample_data")
    command = [sys.executable, str(FOLDER / "make.py"), str(folder)]
    subprocess.run(command, check=True, timeout=60, cwd=folder, env=os.environ | {"PYTHONHASHSEED": "7"})
    return folder


@pytest.fixture(scope="module")
def tickets() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "tickets.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def reviews() -> list[dict[str, str]]:
    with (FOLDER / "reviews.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture(scope="module")
def products() -> pl.DataFrame:
    return pl.read_parquet(FOLDER / "products.parquet")


def data_of(folder: Path) -> dict[str, Path]:
    """Every file below `folder` that is neither a script nor its words, by its name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path for path in files if path.suffix not in (".py", ".pyc", ".toml")
    }


def test_the_script_rewrites_everything_but_the_catalogue_byte_for_byte(remade: Path) -> None:
    """What is committed is what the script makes: no hand edit, no dependence on hash order or locale."""
    made, kept = ({name: path.read_bytes() for name, path in data_of(at).items()} for at in (remade, FOLDER))

    assert made.keys() == kept.keys()
    assert {name for name in made if made[name] != kept[name]} <= {"products.parquet"}


def test_the_script_rewrites_the_catalogue_with_equal_content(remade: Path, products: pl.DataFrame) -> None:
    """Parquet bytes differ between library versions; columns, types and values do not."""
    again = pl.read_parquet(remade / "products.parquet")

    assert products.schema == again.schema
    assert products.equals(again)


def test_every_ticket_has_the_promised_keys_and_some_have_more(tickets: list[dict[str, Any]]) -> None:
    """400 tickets; optional keys are absent rather than null, and two of them first occur late."""
    extra = Counter(key for ticket in tickets for key in ticket.keys() - TICKET_KEYS)
    first = {key: next(n for n, ticket in enumerate(tickets) if key in ticket) for key in extra}

    assert len(tickets) == 400
    assert all(ticket.keys() >= TICKET_KEYS for ticket in tickets)
    assert set(extra) == {"order", "attachments", "reopens"}
    assert first["attachments"] > 100
    assert first["reopens"] > 200


def test_ticket_values_are_of_their_kind(tickets: list[dict[str, Any]]) -> None:
    """Labels, stars, token limits and times stay inside what the sample jobs rely on."""
    assert {ticket["gold_label"] for ticket in tickets} == LABELS
    assert {ticket["stars"] for ticket in tickets} == {None, 1, 2, 3, 4, 5}
    assert {ticket["channel"] for ticket in tickets} == {"email", "chat", "phone"}
    assert all(60 <= ticket["max_tokens"] <= 160 for ticket in tickets)
    times = [datetime.fromisoformat(ticket["created_at"]) for ticket in tickets]
    assert times == sorted(times)


def test_tickets_are_mostly_english_with_some_nulls(tickets: list[dict[str, Any]]) -> None:
    """Four languages, and nulls in the columns that may be null but nowhere else."""
    languages = Counter(ticket["lang"] for ticket in tickets)
    nulls = {key for ticket in tickets for key, value in ticket.items() if value is None}

    assert set(languages) == {"en", "de", "es", "fr"}
    assert languages["en"] > 300
    assert min(languages.values()) >= 10
    assert nulls == {"subject", "customer_tier", "stars"}


def test_orders_name_products_of_the_catalogue(tickets: list[dict[str, Any]], products: pl.DataFrame) -> None:
    """The tables can be joined: every ordered sku is a product id."""
    orders = [ticket["order"] for ticket in tickets if "order" in ticket]
    known = set(products["product_id"])

    assert len(orders) > 50
    assert all(order.keys() == {"number", "items"} and order["items"] for order in orders)
    assert {item["sku"] for order in orders for item in order["items"]} <= known


def test_reviews_have_the_promised_columns(reviews: list[dict[str, str]], products: pl.DataFrame) -> None:
    """600 reviews of catalogue products, with plausible ratings and dates."""
    columns = ["review_id", "product", "category", "rating", "title", "text", "verified", "posted_on"]

    assert len(reviews) == 600
    assert all(list(review) == columns for review in reviews)
    assert {review["rating"] for review in reviews} == {"1", "2", "3", "4", "5"}
    assert {review["verified"] for review in reviews} == {"true", "false"}
    assert {review["product"] for review in reviews} <= set(products["name"])
    assert all(date.fromisoformat(review["posted_on"]).year == 2025 for review in reviews)


@pytest.mark.parametrize("inside", ["\n", '"', ","])
def test_some_reviews_hold_what_makes_csv_hard(reviews: list[dict[str, str]], inside: str) -> None:
    """Quotes, commas and line breaks stand inside fields, so that a naive reader fails on them."""
    assert sum(inside in review["text"] for review in reviews) > 20


def test_the_catalogue_has_the_promised_types(products: pl.DataFrame) -> None:
    """1500 products whose columns are more than strings and numbers."""
    attributes = {"colour": pl.String, "material": pl.String, "size": pl.String, "weight_g": pl.Int32}

    assert products.height == 1500
    assert dict(products.schema) == {
        "product_id": pl.String(),
        "name": pl.String(),
        "category": pl.String(),
        "brand": pl.String(),
        "attributes": pl.Struct(attributes),
        "price": pl.Decimal(8, 2),
        "tags": pl.List(pl.String),
        "in_stock": pl.Boolean(),
        "description_raw": pl.String(),
        "updated_at": pl.Datetime("us", "UTC"),
    }


def test_ids_are_unique(
    tickets: list[dict[str, Any]], reviews: list[dict[str, str]], products: pl.DataFrame
) -> None:
    """Each table has an id column that names its rows."""
    assert len({ticket["ticket_id"] for ticket in tickets}) == len(tickets)
    assert len({review["review_id"] for review in reviews}) == len(reviews)
    assert products["product_id"].n_unique() == products["name"].n_unique() == products.height


def test_rows_read_differently(tickets: list[dict[str, Any]], reviews: list[dict[str, str]]) -> None:
    """No two tickets have the same text, and only one-line reviews such as `Perfect.` come twice."""
    texts = Counter(review["text"] for review in reviews)

    assert len({ticket["body"] for ticket in tickets}) == len(tickets)
    assert all(len(text) < 60 for text, times in texts.items() if times > 1)


def rows_of(name: str) -> list[dict[str, Any]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return (
            list(csv.DictReader(file, strict=True)) if name.endswith(".csv") else list(map(json.loads, file))
        )


MEDIA = {"photos": (8, b"\x89PNG\r\n\x1a\n"), "clips": (4, b"RIFF"), "documents": (3, b"%PDF-1.4")}


@pytest.mark.parametrize("name", MEDIA)
def test_each_media_table_names_the_files_of_its_folder(name: str) -> None:
    """Each file once, with a question about it and the answer."""
    count, start = MEDIA[name]
    rows = rows_of(f"{name}.csv")

    assert len(rows) == len({row["id"] for row in rows}) == count
    assert all(row.keys() == {"id", "file", "question", "answer"} and all(row.values()) for row in rows)
    assert {row["file"] for row in rows} == {f"{name}/{path.name}" for path in (FOLDER / name).iterdir()}
    assert all((FOLDER / row["file"]).read_bytes().startswith(start) for row in rows)


def test_the_photos_are_whole_png_files() -> None:
    """Every chunk has its checksum, and the pixels are all there: 96 by 72, two bits each."""
    for row in rows_of("photos.csv"):
        data, at, pixels = (FOLDER / row["file"]).read_bytes(), 8, b""
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            chunk, checksum = data[at + 4 : at + 8 + size], data[at + 8 + size : at + 12 + size]
            assert zlib.crc32(chunk) == int.from_bytes(checksum, "big")
            pixels += zlib.decompress(chunk[4:]) if chunk.startswith(b"IDAT") else b""
            at += 12 + size
        assert len(pixels) == 72 * (1 + 96 // 4)
        assert len(set(pixels)) > 3


def test_the_clips_hold_as_many_beeps_as_their_table_says() -> None:
    """Less than half a second each; between two beeps there is silence."""
    for row in rows_of("clips.csv"):
        with wave.open(str(FOLDER / row["file"])) as clip:
            assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (8000, 1, 1)
            assert clip.getnframes() < 4000
            sound = clip.readframes(clip.getnframes())
        assert len([part for part in re.split(rb"\x80{100,}", sound) if part]) == int(row["answer"])


def test_the_documents_point_to_their_own_objects() -> None:
    """Every entry of a PDF's table is the place of the object with its number."""
    for row in rows_of("documents.csv"):
        data = (FOLDER / row["file"]).read_bytes()
        table = int(re.findall(rb"startxref\n(\d+)\n", data)[0])
        places = re.findall(rb"^(\d{10}) 00000 n $", data[table:], re.MULTILINE)
        assert len(places) == 5
        for number, place in enumerate(places, 1):
            assert data[int(place) :].startswith(b"%d 0 obj\n" % number)
        (length,) = re.findall(rb"/Length (\d+)", data)
        assert len(data.partition(b"stream\n")[2].partition(b"\nendstream")[0]) == int(length)


def test_the_batch_is_one_that_is_read_as_it_is() -> None:
    """Thirty requests with varied bodies, none of them a bad row."""
    source = open_source("batch.jsonl", root=FOLDER, format="openai-batch")
    rows = [row for batch in source.batches() for row in batch.rows]
    members = {name for row in rows for name in row.values["body"]}

    assert [row.error for row in rows] == [None] * 30
    assert len({row.values["custom_id"] for row in rows}) == 30
    assert members >= {"model", "messages", "temperature", "tools", "response_format", "n", "seed", "stop"}
    assert any(len(row.values["body"]["messages"]) > 3 for row in rows)


def test_conversations_end_with_a_question() -> None:
    """Twenty message lists; some have answers in them, some a function's call and its result."""
    rows = rows_of("conversations.jsonl")
    roles = [[message["role"] for message in row["messages"]] for row in rows]

    assert len(rows) == len({row["conversation_id"] for row in rows}) == 20
    assert all(each[-1] == "user" for each in roles)
    assert {role for each in roles for role in each} == {"system", "user", "assistant", "tool"}
    assert [row["questions"] for row in rows] == [each.count("user") for each in roles]
    for row in rows:
        calls = [call["id"] for message in row["messages"] for call in message.get("tool_calls", ())]
        assert calls == [message["tool_call_id"] for message in row["messages"] if message["role"] == "tool"]


def test_what_is_to_be_found_in_a_letter_stands_in_it() -> None:
    """Sixty letters; an address that a letter does not give is null."""
    rows = rows_of("contacts.jsonl")

    assert len(rows) == len({row["contact_id"] for row in rows}) == 60
    assert {row["gold_label"] for row in rows} == {"invoice", "refund", "quote"}
    assert all(row["gold_name"] in row["text"] for row in rows)
    assert 5 < sum(row["gold_email"] is None for row in rows) < 30
    assert all((row["gold_email"] or "@") in row["text"] or not row["gold_email"] for row in rows)
    assert all("@" not in row["text"] for row in rows if not row["gold_email"])
    assert all(f"{row['gold_amount']:.2f}" in row["text"].replace(",", "") for row in rows)
    assert all(str(date.fromisoformat(row["gold_date"]).year) in row["text"] for row in rows)


def test_trips_have_a_city_and_some_days() -> None:
    """Twenty-four of them."""
    rows = rows_of("trips.csv")

    assert len(rows) == len({row["trip_id"] for row in rows}) == 24
    assert all(2 <= int(row["days"]) <= 7 and row["city"] and row["month"] for row in rows)


def test_no_template_is_left_unfilled(remade: Path) -> None:
    """No `{slot}` or `[a|b]` of the phrase book reaches a table, and all addresses are example.com's."""
    text = "".join((remade / name).read_text(encoding="utf-8") for name in TEXTS)

    assert re.findall(r"\{[a-z]+\}|\[[^]\[{\"]*\|", text) == []
    assert set(re.findall(r"@([\w.]+\w)", text)) == {"example.com"}


def test_the_data_are_small() -> None:
    """They are part of the repository, so they stay below 700 kB, and the catalogue below 200 kB."""
    assert (FOLDER / "products.parquet").stat().st_size < 200_000
    assert sum(path.stat().st_size for path in data_of(FOLDER).values()) < 700_000
