"""Engines: they take tasks and see that each gets its records in the journal.

    run_context.py    what there is one of in a run: clock, gates, journal, calls in flight, control
    control.py        what every engine needs: it seals, counts, judges the canary, and ends a run
    restore.py        what a killed submit sent and was told, given back to the gates
    tasks.py          rows to tasks; `chunks.py` and `spool.py` read them, `supply.py` holds some ready
    answering.py      what a row passes on its way (`answer/`), put together
    local.py          the engine of one process; `driving.py` puts it together

Beside the calls run `pausing.py`, `uploading.py`, `storage_watch.py` and `signals.py`. The other engines are
in `cluster/` and `batches/`.
"""
