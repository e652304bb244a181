"""What calls cost: the job's own prices, else those of genai-prices, which is asked offline."""

from batchrun.prices.price import GivenPrice, Price
from batchrun.prices.table import find_price
from batchrun.prices.unbounded import no_upper_bound, output_bound, prompt_bound

__all__ = ["GivenPrice", "Price", "find_price", "no_upper_bound", "output_bound", "prompt_bound"]
