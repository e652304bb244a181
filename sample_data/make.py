"""Make the sample data: tickets, reviews and the catalogue both speak of, media, and exchanges.

    python sample_data/make.py [FOLDER]

writes, into this folder unless told another, and with the same content every time:

    tickets.jsonl      400 rows: keys that come late or not at all, nulls, nested orders, four languages
    reviews.csv        600 rows: quotes, commas and line breaks inside fields
    products.parquet  1500 rows: decimal, struct, list and timestamp columns, three row groups
    photos.csv           8 rows about the pictures in photos/
    clips.csv            4 rows about the recordings in clips/
    documents.csv        3 rows about the PDF files in documents/
    batch.jsonl         30 whole requests, as OpenAI's Batch API takes them
    conversations.jsonl 20 rows that carry their own messages
    contacts.jsonl      60 letters, and the names, amounts and dates to be found in them
    trips.csv           24 journeys to be planned

The words are in phrases.toml and exchanges.toml; all products, people and addresses are invented.
A product's id is the `sku` in the tickets' orders, its name the `product` of the reviews.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from catalogue import PHRASES, PRODUCT_COLUMNS, Product, Table, catalogue, product_rows
from draw import Draw
from exchanges import batch_rows, contact_rows, conversation_rows, trip_rows
from media import TABLES
from tables import write_lines, write_table

HERE = Path(__file__).parent

TICKETS, REVIEWS = 400, 600
LANGUAGES = ("en",) * 21 + ("de", "es", "fr", "de")
LABELS = ("shipping", "billing", "bug", "shipping", "account", "billing", "bug", "feature_request", "other")
CHANNELS = ("email", "email", "email", "chat", "chat", "phone")
TIERS = ("free",) * 8 + ("plus",) * 5 + ("business",) * 3 + (None,)
RATINGS = (5, 5, 5, 5, 4, 4, 4, 3, 3, 2, 1, 1)
STARS: Mapping[str, tuple[int | None, ...]] = {
    "angry": (1, 1, 1, 2, 2, 3, None),
    "casual": (2, 3, 3, 4, None),
    "calm": (2, 2, 3, 4, 4, 5, None),
    "plain": (3, 4, 5, 5, None),
}
SHOUTED = re.compile(r"\b(not|never|nothing|twice|still|nicht|nadie|jamais)\b")


def review_rows(products: Sequence[Product]) -> Iterator[dict[str, str | int | None]]:
    draw = Draw("reviews")
    for number in range(1, REVIEWS + 1):
        product, rating = draw.pick(products[:250]), draw.deal(RATINGS)
        weeks = draw.pick(("two", "three", "four", "six", "eight", "ten"))
        slots = {"noun": product.noun, "size": product.size, "colour": product.colour, "weeks": weeks}
        slots["price"] = f"€{product.price}"
        (title,) = draw.say(PHRASES["reviews"][f"title_{rating}"], slots)
        yield {
            "review_id": f"R-{number:05}",
            "product": product.name,
            "category": product.kind["category"],
            "rating": rating,
            "title": None if draw.chance(0.04) else title,
            "text": review_text(draw, product.kind, rating, slots),
            "verified": "true" if draw.chance(0.8) else "false",
            "posted_on": (date(2025, 1, 1) + timedelta(days=draw.number(0, 300))).isoformat(),
        }


def review_text(draw: Draw, kind: Table, rating: int, slots: Mapping[str, str]) -> str:
    """A review that says what its rating says."""
    lists = PHRASES["reviews"]
    if draw.chance(0.08):
        return draw.say(lists[f"short_{rating}"], slots)[0]
    if rating in (2, 3, 4) and draw.chance(0.15):
        points = ["Pros:", *draw.say(kind["praise"], slots, count=rating - 1)]
        points += ["Cons:", *draw.say(kind["gripe"], slots, count=5 - rating)]
        return "\n".join(point if point.endswith("s:") else f"- {point}" for point in points)
    main, turn, other = ("praise", "turn", "gripe") if rating > 3 else ("gripe", "upside", "praise")
    story = draw.say(lists[f"start_{rating}"], slots, count=draw.chance(0.7))
    story += draw.say(kind[main], slots, count=draw.number(1, 2))
    if rating in (2, 3, 4):
        story += draw.say(lists[turn], slots) + draw.say(kind[other], slots)
    verdict = draw.say(lists["aside"], slots, count=draw.chance(0.3))
    verdict += draw.say(lists[f"end_{rating}"], slots, count=draw.chance(0.7))
    return draw.pick((" ", " ", " ", "\n\n", "\n")).join(filter(None, (" ".join(story), " ".join(verdict))))


def ticket_rows(products: Sequence[Product]) -> Iterator[dict[str, Any]]:
    draw, when = Draw("tickets"), datetime(2025, 3, 3, 7, 40, tzinfo=UTC)
    for number in range(1, TICKETS + 1):
        when += timedelta(seconds=draw.number(40, 40_000))
        lang, label, channel = draw.deal(LANGUAGES), draw.deal(LABELS), draw.pick(CHANNELS)
        scenario, tone = ticket_scenario(draw, lang, label), ticket_tone(draw, lang, label, channel)
        kinds = scenario.get("kinds")
        product = draw.pick([one for one in products if not kinds or one.kind["key"] in kinds])
        slots = ticket_slots(draw, lang, product)
        (subject,) = draw.say(scenario["subject"], slots, PHRASES["words"][lang])
        row: dict[str, Any] = {
            "ticket_id": f"T-{number:04}",
            "created_at": when.isoformat().replace("+00:00", "Z"),
            "lang": lang,
            "subject": None if channel == "chat" and draw.chance(0.2) else subject[0].upper() + subject[1:],
            "body": ticket_body(draw, scenario, lang, channel, tone, slots),
            "channel": channel,
            "customer_tier": draw.pick(TIERS),
            "gold_label": label,
            "stars": draw.pick(STARS[tone]),
            "max_tokens": 10 * draw.number(6, 16),
        }
        if draw.chance(scenario["order"]):
            row["order"] = {"number": slots["order"], "items": order_items(draw, product, products)}
        yield row | late_keys(draw, number)


def order_items(draw: Draw, product: Product, products: Sequence[Product]) -> list[dict[str, Any]]:
    skus = [product.id] + [draw.pick(products).id for _ in range(draw.pick((0, 0, 0, 1, 2)))]
    return [{"sku": sku, "qty": draw.pick((1, 1, 1, 2))} for sku in skus]


def late_keys(draw: Draw, number: int) -> dict[str, Any]:
    """Keys the ticket form got later, so that the first rows do not have them."""
    keys: dict[str, Any] = {}
    if number > 180 and draw.chance(0.2):
        keys["attachments"] = [f"photo-{n}.jpg" for n in range(1, draw.number(1, 3) + 1)]
    if number > 250 and draw.chance(0.15):
        keys["reopens"] = f"T-{draw.number(1, number - 40):04}"
    return keys


def ticket_scenario(draw: Draw, lang: str, label: str) -> Table:
    """What the customer writes about, with the `paired` lists narrowed to phrases that fit each other."""
    scenarios: Mapping[str, Table] = PHRASES["tickets"][lang][label]
    scenario = scenarios[draw.deal(tuple(scenarios))]
    at = scenario["problem"].index(draw.deal(scenario["problem"]))
    return {**scenario, **{field: [scenario[field][at]] for field in scenario.get("paired", ())}}


def ticket_tone(draw: Draw, lang: str, label: str, channel: str) -> str:
    if label in ("feature_request", "other"):
        return "plain"
    if lang == "en" and channel == "chat":
        return draw.pick(("casual", "casual", "angry", "calm"))
    return draw.pick(("angry", "angry", "calm", "calm", "calm"))


def ticket_slots(draw: Draw, lang: str, product: Product) -> dict[str, str]:
    """What one ticket speaks of: the same value wherever the slot occurs in it."""
    brand, series, noun = product.brand, product.series, product.noun
    names = [f"{brand} {series}"]
    if lang == "en":
        names = [f"{brand} {series} {noun}", f"{brand} {noun}", f"{series} {noun}", noun]
    return {
        "product": draw.pick(names),
        "noun": noun,
        "category": product.kind["category"],
        "colour": product.colour,
        "amount": f"€{product.price}" if lang == "en" else f"{product.price} €".replace(".", ","),
        "fee": draw.pick(("€25", "€29.90", "€49", "€50", "€79")),
        "order": f"{draw.number(310, 489)}-{draw.number(10_000, 99_999)}",
        "days": str(draw.number(3, 19)),
        "years": str(draw.number(2, 9)),
        "version": f"{draw.number(4, 6)}.{draw.number(0, 14)}.{draw.number(0, 3)}",
        "code": f"E-{draw.number(1000, 1999)}",
    }


def ticket_body(draw: Draw, scenario: Table, lang: str, channel: str, tone: str, slots: Table) -> str:
    """Two to four sentences in the customer's tone, with what the channel puts around them."""
    voice, words = PHRASES["voice"][lang], PHRASES["words"][lang]
    sentences = draw.say(scenario["problem"], slots, words)
    sentences += draw.say(scenario["detail"], slots, words, count=draw.pick((0, 1, 1, 1, 2)))
    if tone != "plain" and len(sentences) < 3 and draw.chance(0.45):
        at = draw.pick((0, len(sentences), len(sentences)))
        sentences[at:at] = draw.say(voice[tone], slots, words)
    if len(sentences) < 2 or draw.chance(0.8):
        sentences += draw.say(scenario["ask"], slots, words)
    text = in_tone(draw, " ".join(sentences), lang, tone)
    if channel == "phone":
        return " ".join([*draw.say(voice["phone"], slots, words), text])
    if channel == "chat":
        return text
    greeting = draw.say(voice["greeting"], slots, words, count=draw.chance(0.8))
    thanks = draw.say(voice["thanks"], slots, words, count=draw.chance(0.75))
    return "\n\n".join([*greeting, text, *thanks])


def in_tone(draw: Draw, text: str, lang: str, tone: str) -> str:
    """`text` with the shouting, the lower case and the slips that go with its tone."""
    if tone == "angry" and draw.chance(0.6):
        text = SHOUTED.sub(lambda match: match[0].upper(), text, count=2)
        text = re.sub(r"\.$", draw.pick(("!", "!!", "!!!")), text)
    if tone == "casual":
        text = text.replace("'", "").removesuffix(".").lower()
    if lang == "en" and draw.chance(0.6 if tone == "casual" else 0.15):
        text = draw.misspell(text)
    return text


def write(folder: Path) -> None:
    """Write everything into `folder`, replacing what is there."""
    products = catalogue()
    write_lines(folder / "tickets.jsonl", ticket_rows(products))
    write_table(folder / "reviews.csv", review_rows(products))
    rows = pa.Table.from_pylist(list(product_rows(products)), schema=PRODUCT_COLUMNS)
    pq.write_table(rows, folder / "products.parquet", compression="zstd", row_group_size=500)
    for name, items in TABLES.items():
        (folder / name).mkdir(exist_ok=True)
        write_table(folder / f"{name}.csv", (item.row for item in items()))
        for item in items():
            (folder / item.file).write_bytes(item.data)
    write_lines(folder / "batch.jsonl", batch_rows())
    write_lines(folder / "conversations.jsonl", conversation_rows())
    write_lines(folder / "contacts.jsonl", contact_rows())
    write_table(folder / "trips.csv", trip_rows())


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
