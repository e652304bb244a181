"""Rows through a provider's batch API, at about half the price and within a day (OpenAI, Batch API).

lines.py        a request, and an answer to it, as a line of a file
api.py          `BatchApi`: files and batches of one endpoint, and what becomes of asking for them
record.py       `Record`: what is kept of a batch while it is with the provider
drawing.py      rows become lines: what each is still to be asked
writing.py      `Open`: a file that lines are added to, within what a batch may hold
sending.py      a file becomes a batch, once and never twice
arrived.py      the answers of a batch that is over, found by the ids of its lines
rounds.py       `Rounds`: files out, answers in, until no row is left
driving.py      an engine made of these over the books of a run
"""
