"""`stored`: completions that were sent with `store: true`, and stay with their provider."""

from batchrun.stored.filters import Filters
from batchrun.stored.metadata import Change, pairs_of
from batchrun.stored.place import Place, place_named, place_of_job
from batchrun.stored.verbs import Deleted, chosen_ids, delete, get, list_pages, messages, update

__all__ = [
    "Change",
    "Deleted",
    "Filters",
    "Place",
    "chosen_ids",
    "delete",
    "get",
    "list_pages",
    "messages",
    "pairs_of",
    "place_named",
    "place_of_job",
    "update",
]
