"""Python functions as tools: a user's file to tool definitions, and calls of them to text for the model.

What a call gives is text in every case; an error of the function or of the arguments is one too,
so that the model can do better (OpenAI's reference, "Function Calling with Error Handling").
"""

from __future__ import annotations

from batchrun.functions.calling import Functions
from batchrun.functions.loading import load_functions

__all__ = ["Functions", "load_functions"]
