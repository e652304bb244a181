"""A call's turn at an admission, as an `async with`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from batchrun.admission import Admission, Permit, Unavailable


@asynccontextmanager
async def admitted(admission: Admission, *call: Any, **options: Any) -> AsyncIterator[Permit | Unavailable]:
    """The block is the call, as long as it is not closed to it."""
    permit = await admission.admit(*call, **options)
    if isinstance(permit, Unavailable):
        yield permit
        return
    with permit:
        yield permit
