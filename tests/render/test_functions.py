"""Python functions as tools: what a model is told of them, and what it gets when it calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchrun.errors import JobError
from batchrun.functions import Functions, load_functions
from batchrun.functions.docstring import read_docstring
from batchrun.functions.result import MAX_RESULT, as_text

WHERE = "job.yaml:9: run_tools"


def module(folder: Path, source: str) -> Path:
    path = folder / "tools.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return path


def loaded(folder: Path, source: str, *names: str) -> Functions:
    return load_functions(module(folder, source), names or ("f",), where=WHERE)


def called(functions: Functions, arguments: Any = None, name: str = "f") -> str:
    """Call one function as a model would; text is sent as it is."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    given: list[str] = []

    async def main() -> None:
        given.append(await functions.call(name, text))

    anyio.run(main)
    return given[0]


WEATHER = '''
    from typing import Annotated, Literal

    from pydantic import Field

    def weather(
        city: str,
        days: Annotated[int, Field(ge=1, le=7, description="how far ahead")] = 1,
        unit: Annotated[Literal["C", "F"], "the scale"] = "C",
        tags: list[str] | None = None,
    ) -> dict:
        """Get the weather.

        Forecasts are made at noon.

        Args:
            city (str): the city's name,
                in English
            days: not told, since the hint describes it
            tags: words

        Returns:
            the forecast
        """
        return {"city": city, "days": days, "unit": unit, "tags": tags}
'''


def test_a_signature_becomes_a_tool(tmp_path: Path) -> None:
    """Hints, defaults and the docstring make the definition; nothing else is in it."""
    assert loaded(tmp_path, WEATHER, "weather").tools == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Get the weather.\n\nForecasts are made at noon.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "description": "the city's name, in English"},
                        "days": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 7,
                            "default": 1,
                            "description": "how far ahead",
                        },
                        "unit": {
                            "type": "string",
                            "enum": ["C", "F"],
                            "default": "C",
                            "description": "the scale",
                        },
                        "tags": {
                            "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                            "default": None,
                            "description": "words",
                        },
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
    ]


@pytest.mark.parametrize(
    ("parameter", "schema"),
    [
        ("x: bool", {"type": "boolean"}),
        ("x: float", {"type": "number"}),
        ("x: 'list[int]'", {"type": "array", "items": {"type": "integer"}}),
        ("x: dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("x: Color", {"$ref": "#/$defs/Color"}),
        ("x: Point", {"$ref": "#/$defs/Point"}),
        ("x: 'list[Later]'", {"type": "array", "items": {"$ref": "#/$defs/Later"}}),
        ("x: Optional[int] = None", {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}),
        ("x: date", {"type": "string", "format": "date"}),
        ("x: object = object()", {}),
        ("*, x: str", {"type": "string"}),
    ],
)
def test_hints(tmp_path: Path, parameter: str, schema: dict[str, Any]) -> None:
    """Each kind of hint that people write has its JSON Schema; those written as text too."""
    source = f"""
        from dataclasses import dataclass
        from datetime import date
        from enum import Enum
        from typing import Optional

        class Color(Enum):
            RED = "red"

        @dataclass
        class Point:
            y: int

        def f({parameter}): ...

        @dataclass
        class Later:
            z: int
    """
    parameters = loaded(tmp_path, source).tools[0]["function"]["parameters"]
    assert parameters["properties"]["x"] == schema
    assert parameters["additionalProperties"] is False


def test_parameters_may_have_any_name(tmp_path: Path) -> None:
    """Also one that pydantic's own names would shadow, or that a model could not have as a field."""
    source = """
        def f(schema: int, json: int, _id: int, model_config: int = 4):
            return [schema, json, _id, model_config]
    """
    functions = loaded(tmp_path, source)
    properties = functions.tools[0]["function"]["parameters"]["properties"]
    assert list(properties) == ["schema", "json", "_id", "model_config"]
    assert called(functions, {"schema": 1, "json": 2, "_id": 3}) == "[1,2,3,4]"


def test_a_function_without_parameters_and_docstring(tmp_path: Path) -> None:
    """It has an empty object of parameters; no arguments at all are as good as `{}`."""
    functions = loaded(tmp_path, "def f(): return 1")
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    assert functions.tools == [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert [called(functions, text) for text in ("", " ", "{}")] == ["1"] * 3


@pytest.mark.parametrize(
    ("text", "description", "parameters"),
    [
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("Do.\n\nMore: of it.\n\nReturns:\n    x: y", "Do.\n\nMore: of it.", {}),
        ("Do.\n\nArgs:\n    a: one\n    b (int): x:\n        y\n", "Do.", {"a": "one", "b": "x: y"}),
        ("Args:\n  a:\n    below\n\n  b: two", "", {"a": "below", "b": "two"}),
        ("Do.\n\nArgs:\nno indent", "Do.", {}),
    ],
)  # fmt: skip
def test_docstrings(text: str, description: str, parameters: dict[str, str]) -> None:
    """The text before the first section describes the function; `Args:` its parameters."""
    found = read_docstring(text)
    assert (found.description, found.parameters) == (description, parameters)


MODELS = """
    import datetime as dt
    from dataclasses import dataclass
    from decimal import Decimal
    from enum import Enum

    from pydantic import BaseModel

    class Color(str, Enum):
        RED = "red"

    @dataclass
    class Point:
        y: int
        seen: set[str]

    class Order(BaseModel):
        total: Decimal
        tags: set[str] = set()
"""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("'as it is\\n'", "as it is\n"),
        ("None", "null"),
        ("True", "true"),
        ("{'a': [1, 2.5, None]}", '{"a":[1,2.5,null]}'),
        ("2**70", str(2**70)),
        ("float('nan')", "null"),
        ("Color.RED", "red"),
        ("[Color.RED]", '["red"]'),
        ("Decimal('1.10')", '"1.10"'),
        ("dt.datetime(2026, 1, 2, 3, 4)", '"2026-01-02T03:04:00"'),
        ("{'d', 'a', 'c', 'b'}", '["a","b","c","d"]'),
        ("Point(1, {'b', 'a'})", '{"y":1,"seen":["a","b"]}'),
        ("Order(total='2.50')", '{"total":"2.50","tags":[]}'),
        ("[Order(total=1, tags={'c', 'b', 'a', 'd'})]", '[{"total":"1","tags":["a","b","c","d"]}]'),
        ("(n for n in range(3))", "[0,1,2]"),
        ("'\\ud800'", "\ufffd"),
        ("object()", "Error: PydanticSerializationError: Unable to serialize unknown type: <class 'object'>"),
    ],
)
def test_results_are_text(tmp_path: Path, value: str, text: str) -> None:
    """Text goes to the model as it is, anything else as JSON that does not change from run to run."""
    source = textwrap.dedent(MODELS) + f"\n\ndef f():\n    return {value}\n"
    assert called(loaded(tmp_path, source)) == text


def test_a_huge_result_is_cut_and_says_so() -> None:
    """It would be sent and paid for with every further turn."""
    assert as_text("x" * MAX_RESULT) == "x" * MAX_RESULT
    assert as_text("x" * (MAX_RESULT + 5)) == "x" * MAX_RESULT + "… (cut here: 5 more characters)"


def test_arguments_are_what_the_hints_say(tmp_path: Path) -> None:
    """They arrive as the hinted types, and defaults are not shared between calls."""
    source = """
        from dataclasses import dataclass
        from datetime import date

        @dataclass
        class Point:
            y: int

        def f(day: date, point: Point, count: int, seen: list[int] = []):
            seen.append(count)
            return [day.year, type(point).__name__, point.y, seen]
    """
    functions = loaded(tmp_path, source)
    given = {"day": "2026-01-02", "point": {"y": 1}, "count": "5"}
    assert [called(functions, given), called(functions, given)] == ['[2026,"Point",1,[5]]'] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{", "Error: wrong arguments for f: Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ("[1]", "Error: wrong arguments for f: Input should be an object"),
        ({}, "Error: wrong arguments for f: a: Field required"),
        ({"a": "x"}, "Error: wrong arguments for f: a: Input should be a valid integer"),
        ({"a": 1, "z": 2}, "Error: wrong arguments for f: z: Extra inputs are not permitted"),
        ({"a": 1, "b": [{"c": 1}, {}]}, "Error: wrong arguments for f: b[1].c: Field required"),
        ({"b": [{}, {}, {}, {}]}, "and 2 more"),
        ("\ud800", "Error: wrong arguments for f: Input should be a valid string"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_to_the_model(tmp_path: Path, arguments: Any, said: str) -> None:
    """With the place and the reason of each mistake; the function is not run."""
    source = """
        from pydantic import BaseModel

        class B(BaseModel):
            c: int

        def f(a: int, b: list[B] = []): raise AssertionError("was run")
    """
    assert said in called(loaded(tmp_path, source), arguments)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no such\\n city')", "Error: ValueError: no such city"),
        ("raise SystemExit(3)", "Error: SystemExit: 3"),
        ("next(iter(()))", "StopIteration"),
        ("raise KeyError", "Error: KeyError"),
        ("1 / 0", "Error: ZeroDivisionError: division by zero"),
        ("raise Own('mine')", "Error: Own: mine"),
    ],
)
@pytest.mark.parametrize("spelled", ["def", "async def"])
def test_exceptions_are_told_to_the_model(tmp_path: Path, spelled: str, body: str, said: str) -> None:
    """On one line without a traceback."""
    source = f"class Own(Exception): ...\n\n{spelled} f():\n    {body}\n"
    assert said in called(loaded(tmp_path, source))


def test_a_long_error_is_cut(tmp_path: Path) -> None:
    """500 characters are enough to do better."""
    said = called(loaded(tmp_path, "def f(): raise ValueError('x' * 10_000)"))
    assert (len(said), said[-1]) == (500, "…")


def test_an_unknown_function_is_told_to_the_model(tmp_path: Path) -> None:
    """With the names of those that there are."""
    functions = loaded(tmp_path, "def f(): ...\ndef g(): ...", "f", "g")
    assert called(functions, name="h") == "Error: there is no function 'h'. Functions: f, g"


def test_keyboard_interrupt_ends_the_run(tmp_path: Path) -> None:
    """It is the user's, not the model's."""
    functions = loaded(tmp_path, "def f(): raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        called(functions)


@pytest.mark.parametrize(
    ("source", "in_a_thread"),
    [
        ("def f(): return threading.get_ident()", True),
        ("async def f(): return threading.get_ident()", False),
        ("def g():\n    async def inner(): return threading.get_ident()\n    return inner()\nf = g", False),
        ("@functools.cache\ndef f(): return threading.get_ident()", True),
        ("class A:\n    def go(self): return threading.get_ident()\nf = A().go", True),
    ],
)
def test_where_a_function_runs(tmp_path: Path, source: str, in_a_thread: bool) -> None:
    """Plain functions in a worker thread, coroutines on the loop; decorated ones and methods as well."""
    functions = loaded(tmp_path, "import functools\nimport threading\n" + source)
    assert (int(called(functions)) != threading.get_ident()) is in_a_thread


def test_functions_run_side_by_side(tmp_path: Path) -> None:
    """Two calls that wait for each other both come to their end."""
    source = """
        import threading

        both = threading.Barrier(2)

        def f(): return both.wait(timeout=5) is not None
    """
    functions = loaded(tmp_path, source)
    given: list[str] = []

    async def one() -> None:
        given.append(await functions.call("f", "{}"))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)

    anyio.run(main)
    assert given == ["true", "true"]


@pytest.mark.parametrize("wait", ["def f(): go.wait(5)", "async def f(): await anyio.sleep(60)"])
def test_a_cancelled_call_does_not_wait_for_its_function(tmp_path: Path, wait: str) -> None:
    """A thread cannot be ended: it is left behind, and its result is dropped."""
    source = (
        f"import threading\n\nimport anyio\n\ngo = threading.Event()\n\n\n{wait}\n\n\ndef end(): go.set()\n"
    )
    functions = loaded(tmp_path, source, "f", "end")

    async def main() -> None:
        with anyio.move_on_after(0.05) as scope:
            await functions.call("f", "{}")
        assert scope.cancelled_caught
        await functions.call("end", "{}")

    anyio.run(main)


def test_a_function_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    """An interrupted run ends, whatever its functions do."""
    path = module(tmp_path, "import time\n\ndef f(): time.sleep(60)")
    program = """
        import sys
        from pathlib import Path

        import anyio

        from batchrun.functions import load_functions

        async def main():
            with anyio.move_on_after(0.05):
                await load_functions(Path(sys.argv[1]), ["f"], where="x").call("f", "{}")

        anyio.run(main)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], check=True, timeout=20)


def test_a_function_that_cancels_itself_is_an_error_of_its_own(tmp_path: Path) -> None:
    """It does not look as if the run had been cancelled."""
    source = "import asyncio\n\nasync def f(): raise asyncio.CancelledError"
    assert called(loaded(tmp_path, source)) == "Error: CancelledError: the function cancelled itself"


@pytest.mark.parametrize(
    ("source", "said", "hint"),
    [
        ("x = 1 / 0", "{path}:1: ZeroDivisionError: division by zero", None),
        ("def f(:", "{path}:1: SyntaxError: ", None),
        ("import nowhere_to_be_found", "{path}:1: ModuleNotFoundError: No module named", None),
        ("import json\n\njson.loads('{')", "{path}:3: JSONDecodeError: ", None),
        ("import sys\n\nsys.exit(1)", "{path}:3: SystemExit: 1", None),
        ("def g(): ...\ndef _h(): ...", "no function `f` in {path}: it has none of", "Functions: g"),
        ("f = 3", "no function `f` in {path}: `f` there is a int", "Functions: none"),
        ("class f: ...", "no function `f` in {path}: `f` there is a type", None),
        ("\ndef f(a): ...", "{path}:2: f: the parameter `a` has no type hint", "Give it one, for example a"),
        ("def f(*args: int): ...", "{path}:1: f: the parameter `*args: int` cannot be given", None),
        ("def f(**more: int): ...", "{path}:1: f: the parameter `**more: int` cannot be given", None),
        ("def f(a: int, /): ...", "cannot be given by its name", "without *args, **kwargs and `/`"),
        ("def f(a: 'Nowhere'): ...", "{path}:1: f: a type hint cannot be read: name 'Nowhere'", None),
        ("from threading import Thread\ndef f(a: Thread): ...", "{path}:2: f: its type hints make no", None),
        ("from typing import Callable\ndef f(a: Callable): ...", "f: its type hints make no", "Use str, int"),
    ],
)  # fmt: skip
def test_a_wrong_module_is_refused(tmp_path: Path, source: str, said: str, hint: str | None) -> None:
    """The message begins with the place in the job, and names file, line and reason."""
    path = module(tmp_path, source)
    with pytest.raises(JobError) as refused:
        load_functions(path, ["f"], where=WHERE)
    assert refused.value.message.startswith(f"{WHERE}: ")
    assert said.format(path=path) in refused.value.message
    assert hint is None or hint in (refused.value.hint or "")


@pytest.mark.parametrize(("name", "said"), [("no.py", "does not exist"), ("a.txt", "is no Python file")])
def test_a_module_that_is_no_python_file(tmp_path: Path, name: str, said: str) -> None:
    """A path that cannot be imported is refused with the reason."""
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(JobError, match=said):
        load_functions(tmp_path / name, ["f"], where=WHERE)


def test_importing_leaves_no_traces(tmp_path: Path) -> None:
    """Its neighbours can be imported; the search path stays as it was, and no file is written."""
    (tmp_path / "neighbour_of_tools.py").write_text("FACTOR = 3")
    path = list(sys.path)
    source = "from neighbour_of_tools import FACTOR\n\ndef f(n: int): return n * FACTOR"
    assert called(loaded(tmp_path, source), {"n": 2}) == "6"
    assert sys.path == path
    assert sorted(item.name for item in tmp_path.iterdir()) == ["neighbour_of_tools.py", "tools.py"]


def test_a_neighbour_is_there_when_functions_run(tmp_path: Path) -> None:
    """Imported again inside a function, and in names that hints of its classes spell as text."""
    (tmp_path / "shapes_of_tools.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Outer:\n    inner: Inner\n@dataclass\nclass Inner:\n    days: set[int]\n"
    )
    source = """
        from __future__ import annotations

        from shapes_of_tools import Inner, Outer

        def f(outer: Outer) -> Outer:
            from shapes_of_tools import Outer as Again

            return Again(Inner(outer.inner.days | {1}))
    """
    assert called(loaded(tmp_path, source), {"outer": {"inner": {"days": [2]}}}) == '{"inner":{"days":[1,2]}}'


def test_an_error_in_a_neighbour_names_the_neighbour(tmp_path: Path) -> None:
    """The innermost line of the user's own."""
    (tmp_path / "broken_neighbour.py").write_text("\nint('x')")
    with pytest.raises(JobError, match=r"broken_neighbour\.py:2: ValueError"):
        loaded(tmp_path, "import broken_neighbour")


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    """Whatever their folders are."""
    for name in "ab":
        (tmp_path / name).mkdir()
    first = loaded(tmp_path / "a", "def f(): return 'a'")
    second = loaded(tmp_path / "b", "def f(): return 'b'")
    assert [called(first), called(second)] == ["a", "b"]


def test_definitions_hold_what_the_model_is_told(tmp_path: Path) -> None:
    """Other code is no other request; another hint, default or description is."""
    spelled = ["def f(a: int): return 1", "def f(a: int): return 2", "def f(a: int = 3): return 1"]
    first, same, other = (loaded(tmp_path, f"VERSION = {at}\n{source}") for at, source in enumerate(spelled))
    assert first.tools == same.tools != other.tools


def test_definitions_are_the_same_in_every_process(tmp_path: Path) -> None:
    """They are part of the request hash, which must not depend on the order of a set."""
    path = module(tmp_path, "def f(a: frozenset[str] = frozenset('abcdefgh')): ...")
    program = (
        "import sys; from pathlib import Path; from batchrun.functions import load_functions;"
        "print(load_functions(Path(sys.argv[1]), ['f'], where='x').tools)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
