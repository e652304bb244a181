"""What models cost: the job's own prices, else those of genai-prices, which is asked offline."""

from batchrun.prices.models import ModelPrices, PriceOf
from batchrun.prices.price import Price

__all__ = ["ModelPrices", "Price", "PriceOf"]
