"""Rows through a provider's batch API, at about half the price and within a day (OpenAI, Batch API).

    driving.py        the engine, put together over the context of a run
    rounds.py         `Rounds`: files out, answers in, until no row is left
    finding.py        what earlier submits have left with providers
    drawing.py        what a row is still to be asked
    lines.py          a request, and an answer to it, as a line of a file
    writing.py        `OpenFile`: lines become a file, within what a batch may hold
    sending.py        `Sender`: a file becomes a batch, once and never twice
    lane.py           `Lane`: batches begin when there is room, and are looked at until they are over
    quotas.py         `Quotas`: how many tokens a provider takes at once
    taking.py         `Taking`: a batch that is over is fetched, and forgotten
    arrived.py        `Arrived`: the answers of a batch, found by the ids of their lines
    delivery.py       `AnswerDelivery`: answers come to their rows
    context.py        `BatchContext`: what all of these work with
    api.py            `BatchApi`: files and batches of one endpoint

What is kept of a batch while it is with its provider is in `run_folder/checkpoint/batches.py`.
"""
