"""Prices by endpoint and model, from genai-prices: a table inside the package, read without a network.

Its own `calc_price` is not used: it takes 50 us a call, refuses a usage in which audio and cached tokens may
overlap, and prices a service tier it does not know as the standard one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from batchrun.prices.price import STANDARD, Period, Price, given_price
from batchrun.prices.rates import Rate, Rates, units

if TYPE_CHECKING:  # the import takes 0.3 s and brings an HTTP client along: only who asks for a price pays
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider

    from batchrun.job.sections.spending import PriceSpec

_KINDS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "written",
    "output_mtok": "output",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_audio",
    "output_audio_mtok": "output_audio",
}
_OTHER_HOSTS = {"api.together.ai": "api.together.xyz"}
"""Hosts that the table does not know as a provider's own."""
_OWN_MACHINES = frozenset({"modal"})
"""Providers whose hosts serve whatever their users run there."""
_SEARCHES = re.compile(r"search|(^|/)sonar|(^|/)compound")
"""Models that search by themselves: the fee of each search is not in the usage."""
_PICTURES = re.compile(r"(^|[-/.])(image|imagen|nano-banana)([-/.]|$)")
"""Models that answer with images, which cost more a token than text: usage does not tell the two apart."""
_PICTURE_KEYS = ("output_image_mtok", "output_video_mtok")
_DOUBTS = {
    "openrouter": "OpenRouter picks the provider, and some may cost more than the price that is known",
    "azure": "on Azure the price depends on the region and on what is deployed under that name",
    "aws": "on AWS the price depends on the region",
    "databricks": "on Databricks the price depends on the workspace's cloud and region",
}
_VERTEX = "aiplatform.googleapis.com"


def find_price(
    model: str,
    *,
    base_urls: Sequence[str | None],
    given: PriceSpec | None = None,
    now: float,
) -> Price | None:
    """The price of a model, `given` (what the job says of it) before what the provider's list says.

    `model` as the endpoint calls it, without the endpoint's name; `base_urls` as the endpoint has
    them; `now` in seconds since the epoch: prices that have ended by then are not considered ahead.
    None where no price is known: at hosts that are no provider's (one's own machine, a proxy), and for models
    that are not in the provider's list by that name, however alike. None also for models whose usage does
    not tell what they cost: those that search the web by themselves, or answer with images or videos.
    """
    if given is not None:
        return given_price(model, given)
    places = {_place(url) for url in base_urls}
    if len(places) != 1 or (place := places.pop()) is None:
        return None
    host, url = place
    table = _table()
    provider = next((one for one in table.providers if _serves(one, host, url)), None)
    if provider is None or provider.id in _OWN_MACHINES:
        return None
    if _SEARCHES.search(model.lower()) or _PICTURES.search(model.lower()):
        return None
    found = provider.find_model(model, all_providers=table.providers)
    return None if found is None else _price(found, provider, host, now)


@cache
def _table() -> DataSnapshot:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()


def _place(url: str | None) -> tuple[str, str] | None:
    """A base URL as the table's patterns expect it: its host, and all of it."""
    try:
        parts = urlsplit(url or "")
        host = (parts.hostname or "").rstrip(".")
        port = parts.port
    except ValueError:
        return None
    if not host or port not in (None, 443):
        return None
    host = _OTHER_HOSTS.get(host, host)
    return f"https://{host}", f"https://{host}{parts.path or '/'}"


def _serves(provider: Provider, host: str, url: str) -> bool:
    """The whole host must match: the patterns alone also take https://api.openai.com.example.com."""
    pattern = provider.api_pattern
    if re.fullmatch(pattern, host) or re.fullmatch(pattern, f"{host}/"):
        return True
    by_path = re.match(pattern, url) if ".*" not in pattern else None
    return by_path is not None and by_path.end() > len(host) + 1


def _price(model: ModelInfo, provider: Provider, host: str, now: float) -> Price | None:
    if any(vars(prices).get(key) is not None for prices in _entries(model) for key in _PICTURE_KEYS):
        return None
    periods = tuple(_periods(model, now))
    if not periods or any(not period.tiers for period in periods):
        return None
    ahead = tuple(_ahead(periods, model.prices, now))
    return Price(
        source="genai-prices",
        model=f"{provider.id}/{model.id}",
        periods=periods,
        ahead=ahead,
        writes_unseen="claude" not in model.id,  # Anthropic's are written where the request asks for it
        doubt="on Vertex AI the price depends on the region" if _VERTEX in host else _DOUBTS.get(provider.id),
    )


def _entries(model: ModelInfo) -> list[ModelPrice]:
    return [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]


def _periods(model: ModelInfo, now: float) -> Iterator[Period]:
    if not isinstance(model.prices, list):
        yield Period(_tiers(model, model.prices, now))
        return
    for one in model.prices:
        active = None if one.constraint is None else partial(_is_active, one.constraint)
        yield Period(_tiers(model, one.prices, now), active)


def _is_active(constraint: Any, at: float) -> bool:
    return bool(constraint.active(datetime.fromtimestamp(at, UTC)))


def _ahead(periods: Sequence[Period], prices: Any, now: float) -> Iterator[Period]:
    """What can hold from `now` on: the later entries come first, up to one that has begun for good."""
    from genai_prices.types import TimeOfDateConstraint

    for at in reversed(range(len(periods))):
        yield periods[at]
        active = periods[at].active
        of_day = active is not None and isinstance(prices[at].constraint, TimeOfDateConstraint)
        if active is None or (active(now) and not of_day):
            return


def _tiers(model: ModelInfo, prices: ModelPrice, now: float) -> dict[str, Rates]:
    """The rates by service tier; none where the list does not price both text in and text out."""
    standard = dict(_read(prices))
    if not {"input", "output"} <= set(standard):
        return {}
    request = units(getattr(prices, "requests_kcount", None) or 0) * 1_000
    tiers = {STANDARD: Rates.of(standard, request)}
    for variant in model.price_variants or ():
        name = _tier_name(variant.when)
        if name is None or (variant.constraint is not None and not _is_active(variant.constraint, now)):
            continue
        own = {kind: _not_below(rate, standard.get(kind)) for kind, rate in _read(variant.prices)}
        tiers.setdefault(name, Rates.of({**standard, **own}, request))
    return tiers


def _tier_name(when: dict[str, str]) -> str | None:
    if when == {"processing": "batch"}:
        return "batch"
    return when["service_tier"].lower() if set(when) == {"service_tier"} else None


def _not_below(rate: Rate, standard: Rate | None) -> Rate:
    return rate if standard is None else rate.not_below(standard)


def _read(prices: ModelPrice) -> Iterator[tuple[str, Rate]]:
    for key, kind in _KINDS.items():
        price = vars(prices).get(key)
        if price is not None:
            yield kind, _rate(price)


def _rate(price: Any) -> Rate:
    """A Decimal, or a base with steps; USD per million tokens."""
    steps: Iterable[Any] = getattr(price, "tiers", ())
    base = getattr(price, "base", price)
    return Rate(units(base), tuple((step.start, units(step.price)) for step in steps))
