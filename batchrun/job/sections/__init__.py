"""The job file's keys: a class for each mapping, a field for each key, whose docstring the schema shows.

file.py       the top level; `canary`, `dedupe`, `order`, `fallback_on`, …
rows.py       `input`, `run_tools`, `engine`, `output`
prompt.py     `prompt`, `request`
serving.py    `model` and `fallbacks`, `endpoints`, `retry`, `stop_when`
spending.py   `prices`, `budget`, `tail`
checks.py     `checks`
fields.py     kinds of values that many keys share: counts, times, shares, names
address.py    checks of URLs, headers and commands

A new key is a field here, and a row of README's table. What it needs of another section is checked in
`checking/together.py`; a path is named in `document/override.py` as well, and made absolute in `load.py`.
"""
