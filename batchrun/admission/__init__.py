"""May this call go now? Slots, rates, pauses, the circuit and the budget, behind one `async with`."""

from batchrun.admission.admission import Admission
from batchrun.admission.admitting import Admitting
from batchrun.admission.permit import Permit
from batchrun.admission.states import Unavailable, Wait

__all__ = ["Admission", "Admitting", "Permit", "Unavailable", "Wait"]
