"""The catalogue of invented products, which tickets and reviews speak of."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
from draw import Draw

Table: TypeAlias = Mapping[str, Any]
"""A table of phrases.toml."""

PHRASES: Table = tomllib.loads((Path(__file__).parent / "phrases.toml").read_text(encoding="utf-8"))
PRODUCTS = 1500

TEXT = pa.string()
ATTRIBUTES = dict.fromkeys(("colour", "material", "size"), TEXT) | {"weight_g": pa.int32()}
PRODUCT_COLUMNS = pa.schema(
    {"product_id": TEXT, "name": TEXT, "category": TEXT, "brand": TEXT, "attributes": pa.struct(ATTRIBUTES)}
    | {"price": pa.decimal128(8, 2), "tags": pa.list_(TEXT), "in_stock": pa.bool_()}
    | {"description_raw": TEXT, "updated_at": pa.timestamp("us", tz="UTC")}
)


@dataclass(frozen=True, slots=True)
class Product:
    id: str
    kind: Table
    """What it is and what people say of it: a `[kinds.*]` table, its name under `key`."""
    brand: str
    series: str
    size: str
    colour: str
    price: Decimal

    @property
    def noun(self) -> str:
        return str(self.kind["noun"])

    @property
    def name(self) -> str:
        return f"{self.brand} {self.series} {self.noun}, {self.size}, {self.colour}"


def catalogue() -> list[Product]:
    """All products; no two have the same name."""
    draw, lists = Draw("catalogue"), PHRASES["catalogue"]
    kinds = [table | {"key": key} for key, table in PHRASES["kinds"].items()]
    products: dict[str, Product] = {}
    while len(products) < PRODUCTS:
        kind = kinds[draw.deal(range(len(kinds)))]
        product = Product(
            id=f"P-{len(products) + 1:05}",
            kind=kind,
            brand=draw.deal(lists["brands"]),
            series=draw.deal(lists["series"]),
            size=draw.pick(kind["sizes"]),
            colour=draw.pick(lists["colours"]),
            price=Decimal(draw.number(*kind["price"])) + draw.pick((Decimal("0.00"), Decimal("0.90"))),
        )
        products.setdefault(product.name, product)
    return list(products.values())


def product_rows(products: Sequence[Product]) -> Iterator[dict[str, Any]]:
    draw = Draw("products")
    for product in products:
        kind = product.kind
        yield {
            "product_id": product.id,
            "name": product.name,
            "category": kind["category"],
            "brand": product.brand,
            "attributes": {
                "colour": product.colour,
                "material": None if draw.chance(0.05) else draw.pick(kind["materials"]),
                "size": product.size,
                "weight_g": draw.number(*kind["grams"]) // 10 * 10,
            },
            "price": None if draw.chance(0.01) else product.price,  # on request
            "tags": kind["tags"][: draw.number(0, 3)] + ["sale"] * draw.chance(0.15),
            "in_stock": draw.chance(0.8),
            "description_raw": None if draw.chance(0.03) else description(draw, product),
            "updated_at": datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=draw.number(0, 20_000_000)),
        }


def description(draw: Draw, product: Product) -> str:
    """A supplier's text as it comes in: shouting, entities, markup and all."""
    heading = f"{product.series} {product.noun} {product.size}"
    parts = [heading.upper() if draw.chance(0.4) else heading]
    parts += draw.say(product.kind["spec"], {}, count=draw.number(1, 3))
    parts += draw.say(PHRASES["catalogue"]["hype"], {}, count=draw.number(0, 2))
    return draw.pick((" ", "<br/>", "\n- ", " | ", "  ", ". ")).join(parts)
