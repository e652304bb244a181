"""`submit`: bring the output of a job up to date with its input.

In the order in which it happens:

    submit.py     all of it; `options.py` is what the user says of one submit
    opening.py    what earlier submits left brought into order, the survey taken
    changes.py    what becomes of rows that an edit has changed; `edits.py` names the edited keys
    engine_run.py an engine put together and run; `journal.py` opens and seals what it records
    finishing.py  the results published and added up

`frames.py` writes a frame that is given as the input.
"""
