"""Conditions in SQL that are none, that do not fit the rows, or that reach for more than the row."""

from __future__ import annotations

from collections.abc import Iterator

from tests.reliability.corpus.case import Case

_ROWS = b'{"value":1,"s":"a","t":null}\n{"value":2,"s":"b","t":null}\n{"value":3,"s":"c","t":"x"}\n'
_FILES = {"rows.jsonl": _ROWS, "other.csv": b"value\n1\n"}

REFUSED = (
    *(
        "",
        " ",
        "value >",
        "value > 1 AND",
        "(value > 1",
        "value > 1)",
        "value = 'a",
        "value > 1; DROP TABLE rows",
    ),
    *(
        "SELECT 1",
        "*",
        "value > 1, value < 3",
        "value BETWEEN 1",
        "NOT",
        "value IN",
        "value LIKE",
        "CASE WHEN",
    ),
    *("value", "s", "value + 1", "'text'", "value > 'a'", "s > 1", "s LIKE 1", "value[1] = 1", "s + 1 = 2"),
    *("unknown = 1", "rows.value > 1", "unknown(value) > 1", "CAST(value AS nothing) > 1", '"Value" = 1'),
    *(
        "read_csv('other.csv')",
        "value = read_parquet('x')",
        "value IN (SELECT value FROM read_csv('other.csv'))",
    ),
    *(
        "EXISTS (SELECT 1 FROM read_csv('/etc/passwd'))",
        "value > (SELECT max(value) FROM read_csv('other.csv'))",
    ),
    *(
        "value IN (select value from read_json('other.csv'))",
        "value IN (SELECT 1)",
        "(WITH x AS (SELECT 1) SELECT 1)",
    ),
    *("EXISTS (SELECT * FROM read_csv('/dev/zero'))", "EXISTS (/* */SELECT * FROM read_ipc('x'))"),
    *("EXISTS (SELECT * FROM read_csv('http://127.0.0.1:9/x'))", "EXISTS (SELECT * FROM read_csv('pipe'))"),
    *("value > avg(value)", "count(*) > 1", "sum(value) > 1", "row_number() OVER (ORDER BY value) < 2"),
    *(
        "(" * 500 + "value > 1" + ")" * 500,
        " AND ".join(["value > 1"] * 2_000),
        "NOT " * 5_000 + "(value > 1)",
    ),
    *(
        "+".join(["value"] * 20_000) + " > 1",
        "\x00",
        "value > 1\x00",
        "{{ value }} > 1",
        "value > 1 -- and no more",
    ),
    *("é > 1", "value ≥ 1", "value == = 1", "value := 1", "@x > 1", "value > ?", "value > $1", "value > :x"),
)
"""Each must end with the name of the key, whatever polars makes of it."""
TAKEN: dict[str, list[int]] = {
    "value > 1": [2, 3],
    "value IN (1, 3)": [1, 3],
    "value IN (" + ",".join(map(str, range(2, 50_000))) + ")": [2, 3],
    "s = 'a' OR s LIKE 'c%'": [1, 3],
    "s = 'SELECT * FROM read_csv(1)'": [],
    "s = 'it''s (select' OR value = 1": [1],
    "t IS NULL": [1, 2],
    "t = 'x'": [3],
    "t = NULL": [],
    "NULL": [],
    "1 = 1": [1, 2, 3],
    "false": [],
    "value / 0 > 1": [1, 2, 3],
    "value > 1e999": [],
    "CAST(value AS VARCHAR) = '2'": [2],
    "length(s) = 1 AND NOT (value = 2)": [1, 3],
    '"value" = 1': [1],
    "regexp_like(s, '(a+)+$')": [1],
    "coalesce(t, 'y') = 'y'": [1, 2],
    "CASE WHEN value = 1 THEN true ELSE false END": [1],
}


def cases() -> Iterator[Case]:
    """Each predicate as the job's `where`."""
    for text in REFUSED:
        yield Case("predicates", text[:60] or "nothing", _FILES, _where(text), refused=r"input\.where|SQL")
    for text, values in TAKEN.items():
        yield Case("predicates", text[:60], _FILES, _where(text), values=values)


def _where(text: str) -> dict[str, object]:
    return {"input": {"path": "rows.jsonl", "where": text}}
