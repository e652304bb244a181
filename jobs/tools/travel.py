"""Functions that jobs/tools.yaml offers to the model."""

from __future__ import annotations

from typing import Annotated, Literal

Month = Literal[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def get_climate(city: str, month: Month) -> dict[str, float]:
    """The usual weather in a city: mean temperature in °C, days with rain."""
    warmth = {"June": 18.0, "July": 21.0, "August": 21.0, "December": 3.0, "January": 2.0, "February": 3.0}
    return {"temperature": warmth.get(month, 11.0), "rainy_days": float(len(city) % 9 + 4)}


def packing_list(temperature: float, days: Annotated[int, "how long the trip is"]) -> list[str]:
    """What to take along for so many days at a temperature in °C."""
    if not 1 <= days <= 60:
        raise ValueError("days must be between 1 and 60")
    layers = "light clothes" if temperature > 17 else "a warm coat"
    return [layers, f"{min(days, 7)} shirts", "an umbrella"]
