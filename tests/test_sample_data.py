"""The sample tables are what their script makes, and hold what the sample jobs ask of them."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

FOLDER = Path(__file__).parents[1] / "sample_data"
TICKET_KEYS = {
    "ticket_id", "created_at", "lang", "subject", "body", "channel", "customer_tier", "gold_label", "stars",
    "max_tokens",
}  # fmt: skip
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


@pytest.mark.parametrize("name", ["tickets.jsonl", "reviews.csv"])
def test_the_script_rewrites_the_text_tables_byte_for_byte(remade: Path, name: str) -> None:
    """What is committed is what the script makes: no hand edit, no dependence on hash order or locale."""
    assert (FOLDER / name).read_bytes() == (remade / name).read_bytes()


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


def test_no_template_is_left_unfilled(remade: Path) -> None:
    """No `{slot}` or `[a|b]` of the phrase book reaches a table, and all addresses are example.com's."""
    text = "".join((remade / name).read_text(encoding="utf-8") for name in ("tickets.jsonl", "reviews.csv"))

    assert re.findall(r"\{[a-z]+\}|\[[^]\[{\"]*\|", text) == []
    assert set(re.findall(r"@([\w.]+\w)", text)) == {"example.com"}


def test_the_tables_are_small() -> None:
    """They are part of the repository, so they stay below 700 kB, and the catalogue below 200 kB."""
    assert (FOLDER / "products.parquet").stat().st_size < 200_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 700_000
