"""JSON values by the letter of RFC 8259: what every reader takes, what none may, what it leaves open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

from tests.reliability.corpus.case import Case, long

TAKEN = (
    *("0", "-0", "1", "-1", "10", "123456789", "0.0", "-0.0", "0.1", "1.5", "-1.5", "1e5", "1E5", "1e+5"),
    *("1e-5", "1E-5", "0e0", "0e1", "0e+1", "1.0", "100.00", "3.141592653589793238", "5e-324", "1e308"),
    *("1.7976931348623157e308", "2.2250738585072014e-308", "0.30000000000000004", "9007199254740991"),
    *("9007199254740992", "9007199254740993", "-9007199254740993", "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615"),
    *("18446744073709551616", "123456789012345678901234567890", "-123456789012345678901234567890"),
    *("1" * 100, "9007199254740993.0", "1e22", "1e23", "123e65", "4.35", "0.000001", "1e-7"),
    *("true", "false", "null", '""', '" "', '"a"', '"abc def"', '"null"', '"1"', '"true"', '"[]"'),
    *('"\\""', '"\\\\"', '"\\/"', '"/"', '"\\b\\f\\n\\r\\t"', '"\\u0041"', '"\\u00e9"', '"é"', '"\\u0000"'),
    *('"a\\u0000b"', '"\\u001f"', '"\x7f"', '"\\u2028\\u2029"', '"\u2028\u2029"', '"\\ud83d\\ude00"', '"😀"'),
    *('"\\uD834\\uDD1E"', '"\ufffe"', '"\uffff"', '"\U0010ffff"', '"\\uFFFF"', '"\ufeff"', '"\\\\u0041"'),
    *('"{{ 7*7 }}"', '"${HOME}"', '"e\u0301"', '"\u00e9"', '"\u202e"', '"\u200d"', '"\u0300" ', ' "x" '),
    *("[]", "[ ]", "[1]", "[1,2]", "[1, 2 , 3]", "[[]]", "[[],[]]", "[null]", "[null,1]", "[true,false]"),
    *('["a","b"]', '[1,"a",null,true,2.5]', "[[1],[2,[3]]]", '[{"a":1},{"b":2}]', "[1.0,2]", '["",""]'),
    *("{}", "{ }", '{"a":1}', '{"a":{}}', '{"a":[]}', '{"a":null}', '{"":0}', '{"":""}', '{" ":1}'),
    *('{"a":1,"b":2}', '{"a":{"b":{"c":[1,{"d":null}]}}}', '{"\\u0000":1}', '{"a\\nb":1}', '{"é":1}'),
    *('{"A":1,"a":2}', '{"0":1}', '{"a.b":1}', '{"__proto__":1}', '{"e\u0301":1,"\u00e9":2}', '{"a":"\\t"}'),
    *("[" * 100 + "]" * 100, '{"a":' * 100 + "1" + "}" * 100, "\t1\t", "[\r1\r]", '{"a" : 1 , "b" :2}'),
)
NOT_TAKEN = (
    *("", "nul", "True", "False", "None", "NULL", "undefined", "tru", "truee", "1a", "a", "'a'", "`a`"),
    *("+1", "-", "--1", "01", "-01", "00", "1.", ".1", "-.1", "1.e1", "1e", "1e+", "1e-", "1E", "1e1.5"),
    *("0x1", "0b1", "1_000", "1,000", "1 000", "\uff11", "1e400", "-1e400", "1e999999", "[1e400]", "0e"),
    *("++1", "1+", "Inf", "+Infinity", "-Inf", "nan", "-NaN", "+NaN", "1.0.0", "2.e3", "0.3e", "0.e1"),
    *('"', '"a', 'a"', '"\\x41"', '"\\u"', '"\\u00"', '"\\u00G0"', '"\\u{41}"', '"\\a"', '"\\\'"', '"\\0"'),
    *('"a""b"', '"\\', '"\\"', '"\x00"', '"a\x00b"', '"\x1f"', '"\x01"', '"a\tb"', '"\x08"', '"\\u-041"'),
    *("[", "]", "[1", "[1,", "[,1]", "[1,]", "[1,,2]", "[,]", "[1 2]", "[1:2]", "[1}", "[1;2]", "[1]]"),
    *("{", "}", "{1}", '{"a"}', '{"a":}', '{"a":1,}', '{,"a":1}', '{"a":1,,"b":2}', '{"a" 1}', "{a:1}"),
    *("{'a':1}", '{"a":1 "b":2}', '{"a"::1}', '{"a":1:2}', "{null:1}", "{1:1}", "{[]:1}", '{"a",1}'),
    *('{"a":1}}', "[1] x", "1 2", '"a" b', "// x", "1 // x", "/* x */ 1", "1 /* x */", "# x", "<null>", "*"),
    *("\u00a01", "\u20281", "\ufeff1", "\x0b1", "\x0c1", "1\x00", "\x001", "\\u0031", "@", "[@]", "&", "%7B"),
    *("[" * 300 + "]" * 300, "[" * 5_000 + "]" * 5_000, '{"a":' * 300 + "1" + "}" * 300, "[" * 300),
)
OPEN = (
    *("NaN", "Infinity", "-Infinity", "[NaN]", '{"a":NaN}', '"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"'),
    *('"\\udc00\\ud800"', '"\\ud800a"', '"a\\udfff"', '["\\ud800"]', '{"\\ud800":1}', '{"a":"\\ud800"}'),
    *('{"a":1,"a":2}', '{"a":1,"a":1}', '{"a":{"b":1},"a":{"c":2}}', '{"a":1,"\\u0061":2}', "1e-400"),
    *("-1e-400", "0.1e-999", "1" * 5_000, "0." + "1" * 5_000, "1e" + "0" * 400 + "1", "0e99999"),
    *("[" * 198 + "]" * 198, "[" * 199 + "]" * 199, "[" * 200 + "]" * 200, '{"a":' * 199 + "1" + "}" * 199),
)
BYTES = {
    "a byte of Latin-1": b'"\xe9"',
    "a continuation byte": b'"\x80"',
    "an overlong slash": b'"\xc0\xaf"',
    "an overlong null": b'"\xc0\x80"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "a cut character": b'"\xe2\x82"',
    "0xFF": b'"\xff"',
    "0xFE outside": b"\xfe1",
    "five bytes": b'"\xf8\x88\x80\x80\x80"',
    "a cut escape of bytes": b'"\\u00\xff"',
    "UTF-16 inside": b'"a\x00b\x00"',
}


def cases() -> Iterator[Case]:
    """A table of one line for each value."""
    for text in TAKEN:
        yield _case("JSON taken", text, values=[read(text)])
    for text in NOT_TAKEN:
        yield _case("JSON refused", text, failed={0: r"^rows\.jsonl:1: no JSON object"})
    for text in OPEN:
        yield _case("JSON left open", text, either=True, values=[_read_if_any(text)])
    for name, data in BYTES.items():
        files = {"rows.jsonl": b'{"value":' + data + b"}\n"}
        yield Case("JSON bytes", name, files, failed={0: r"^rows\.jsonl:1: no JSON object"})


def _case(group: str, text: str, **ends: object) -> Case:
    line = f'{{"value":{text}}}\n'.encode(errors="surrogatepass")
    return Case(group, long(text) or "nothing", {"rows.jsonl": line}, **ends)  # type: ignore[arg-type] # its own fields


def read(text: str) -> object:
    """The value by the standard library, numbers with a point kept to their last digit."""
    return json.loads(text, parse_float=Decimal)


def _read_if_any(text: str) -> object:
    try:
        return read(text)
    except ValueError:  # digits beyond what Python turns into an integer
        return None
