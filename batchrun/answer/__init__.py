"""One row to its outcome: its conversation, the attempts at each step, the calls of each attempt.

A row passes these from the top to the bottom, and its answer comes back the same way:

    task.py       the row, and how far it has come
    answerer.py   its conversation, step by step; `tools.py` runs the functions that a model calls
    chain.py      one step through the models of the job
    attempts.py   one step at one model, again and again
    needs.py      what a call takes of rates and budget
    calls.py      one call: admitted, recorded, sent, recorded; `feedback.py` says what is learned from it

Beside them `in_flight.py` knows the calls under way, `tail.py` sends the last slow ones a second time, and
`recovery.py` finds answers that did not arrive.
"""
