"""A strict reader of our pages: every element is closed where it must be, and stands where HTML allows it."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input", "hr"}
# Elements that take phrasing content only: text and what may stand in a line of it.
PHRASING_ONLY = {"p", "h1", "h2", "h3", "h4", "span", "b", "bdi", "small", "a", "button", "summary", "dt", "code"}
PHRASING = {"a", "b", "bdi", "br", "button", "code", "em", "i", "img", "small", "span", "strong", "svg", "rect", "path",
            "text", "circle", "g", "tspan"}  # fmt: skip
PARENTS = {
    "li": {"ul", "ol"}, "tr": {"thead", "tbody"}, "td": {"tr"}, "th": {"tr"}, "thead": {"table"}, "tbody": {"table"},
    "caption": {"table"}, "dt": {"dl", "div"}, "dd": {"dl", "div"}, "figcaption": {"figure"}, "summary": {"details"},
    "body": {"html"}, "main": {"body"}, "head": {"html"},
}  # fmt: skip
CHILDREN = {"ul": {"li"}, "table": {"caption", "thead", "tbody"}, "tr": {"td", "th"}, "dl": {"div", "dt", "dd"},
            "thead": {"tr"}, "tbody": {"tr"}}  # fmt: skip


class Markup(HTMLParser):
    """Reads a page; `faults` lists what is wrong with it."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.raw: list[tuple[str, str]] = []  # (tag, content) of scripts and style sheets
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        if self._open:
            self.faults.append(f"never closed: {self._open}")

    def handle_decl(self, decl: str) -> None:
        if decl != "doctype html":
            self.faults.append(f"<!{decl}>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        parent = self._open[-1] if self._open else ""
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> has an attribute twice: {names}")
        if tag in PARENTS and parent not in PARENTS[tag]:
            self.faults.append(f"<{tag}> inside <{parent}>")
        if parent in CHILDREN and tag not in CHILDREN[parent]:
            self.faults.append(f"<{tag}> inside <{parent}>")
        if tag not in PHRASING and (around := PHRASING_ONLY.intersection(self._open)):
            self.faults.append(f"<{tag}> inside {around}")
        if tag in ("a", "button") and {"a", "button"}.intersection(self._open):
            self.faults.append(f"<{tag}> inside another one")
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in ("script", "style"):
            self.raw.append((tag, ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if "svg" not in self._open:
            self.faults.append(f"<{tag}/>")
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> does not close what is open: {self._open}")

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside in ("script", "style"):
            self.raw[-1] = (inside, self.raw[-1][1] + data)
            return
        if inside in CHILDREN and data.strip():
            self.faults.append(f"text inside <{inside}>: {data.strip()[:40]!r}")
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]
