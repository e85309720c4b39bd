"""Texts that would do something if they were anything but text: each would set `pwned` in a page, or leave a file called pwned."""

MARK = "pwnedmark"  # a word that stands in every attack, so that a test sees that it arrived

MARKUP = (
    "<script>pwned=1</script>",
    "\"'><img src=x onerror=pwned=1>",
    "</script><script>pwned=1</script>",
    "]]><svg onload=pwned=1>",
    "--></style></title></textarea></template></bdi><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "<a href=javascript:pwned=1>javascript:pwned=1</a>",
    "data:text/html,<script>pwned=1</script>",
    "<base href=https://example.com/><link rel=stylesheet href=//example.com/a.css>",
    "<meta http-equiv=refresh content=0;url=https://example.com>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=pwned=1>",
    "}body{background:url(https://example.com/a)} expression(pwned=1) @import 'https://example.com/a.css';",
    "&lt;script&gt;pwned=1&lt;/script&gt; &#x3c;img src=x onerror=pwned=1>",
)
TEMPLATES = (
    "{{7*7}} {% for a in ().__class__.__base__.__subclasses__() %}{{a}}{% endfor %} {{config}} {plot_divs}",
    "${7*7} #{7*7} <%= 7*7 %> `${pwned=1}`",
    "%s%n%x {0.__class__} %(pwned)s",
)
SHELL = (
    "$(touch pwned) `touch pwned` ;touch pwned; |touch pwned| &&touch pwned",
    "'; touch pwned; '",
    "--output=pwned -o pwned",
)
PATHS = (r"..\..\pwned ../../pwned /tmp/pwned file:///etc/passwd", "..", "CON.html#?pwned%2e%2e%2f")
SPREADSHEETS = (
    "=cmd|' /C touch pwned'!A0",
    '@SUM(1+1)*cmd|" /C calc"!A0',
    "+1+cmd|' /C touch pwned'!A0",
    "-2+3+cmd|' /C touch pwned'!A0",
    '\t=HYPERLINK("http://example.com")',
    "\uff1d1+1",
)
MARKDOWN = (
    "[pwned](javascript:pwned=1) ![x](https://example.com/x.png) <https://example.com> @everyone #1",
    "| a | b |\n|---|---|\n```\n<details open ontoggle=pwned=1>",
)
TERMINAL = (
    "\x1b[31m\x1b]0;pwned\x07\x1b[2J\x9b1A",
    "abc\u202egnp.exe\u202c \u2066\u2069\u200f",
    "[bold red]pwned[/] [link=https://example.com]x[/link] :boom:",
)
KEYS = (
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "__proto__[pwned]=1 constructor.prototype.pwned",
    '"__proto__":{"pwned":1}',
)
VEGA = ("datum.pwned = 1", "'+alert(1)+' \\u0027); pwned=1;//", '{"signal": "window.pwned=1"}')
ODD = ("x" * 400, "ѕсrірt рwnеd", "a\0b\x0b\x0c\x85\u2028\u2029c", "\ufeff\ufffe\U0001f600\u0301" * 3, "\ud7ff\ue000")

ATTACKS = (
    *MARKUP, *TEMPLATES, *SHELL, *PATHS, *SPREADSHEETS, *MARKDOWN, *TERMINAL, *KEYS, *VEGA, *ODD,
)  # fmt: skip
