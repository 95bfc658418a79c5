"""Names that came from outside: what acts on figures, pages, Markdown, tables or terminals."""

from __future__ import annotations

NAMES = {
    "mathtext": r"$\frac{1$",
    "formula": "cost $5 and $x^2$",
    "dollar": "$",
    "underscores": "_a_ __b__ c_d",
    "backslashes": r"\alpha C:\new\table \\ end\ ",
    "html": '<script>alert("x")</script> & <b> &amp; &#60; &lt; a < b',
    "rich": "lesion [benign] [/red] [bold] :warning:",
    "slash": "odd[/x].png",
    "table": "a|b || c",
    "markdown": "**bold** *it* `code` ~~gone~~ [a](http://b.c) ![i](j) [r]: k [^1]",
    "heading": "# no heading",
    "list": "- no item",
    "number": "1. first",
    "quotation": "> said",
    "task": "[x] done",
    "rule": "---",
    "fence": "``` code",
    "definition": "[a]: http://b.c",
    "quotes": 'it\'s "so" %20 ? = #',
    "chinese": "肺炎",
    "emoji": "scan 😀 👩‍⚕️",
    "hebrew": "שלום\u200f (x)",
    "blanks": "two  blanks",
}
"""Each is to be shown as it is."""

ACTING = {
    "colour": ("\x1b[31mred", r"\x1b[31mred"),
    "null": ("a\x00b", r"a\x00b"),
    "bell": ("a\x07b", r"a\x07b"),
    "c1": ("a\x9bb", r"a\x9bb"),
    "line": ("a\nb", r"a\nb"),
    "return": ("a\rb", r"a\rb"),
    "tab": ("a\tb", r"a\tb"),
    "separator": ("a\u2028b", r"a\u2028b"),
    "override": ("a\u202egnp.exe", r"a\u202egnp.exe"),
    "isolate": ("a\u2066b", r"a\u2066b"),
    "latin-1": ("caf\udce9.png", r"caf\udce9.png"),
    "noncharacter": ("a\uffffb", r"a\uffffb"),
}
"""Each with what is shown in its stead."""
