"""Pages lead from one to the other, slides hold the whole lesson, and nothing of a reader's is overwritten."""

import html
import json
import re
from pathlib import Path

import pytest

from casebook.errors import DataError
from casebook.lessons import LESSONS
from casebook.lessons.parts import page_link, sections, to_html
from casebook.lessons.slides import LINES, lines_of, slides_page
from casebook.lessons.source import parse_lesson, read_lesson
from casebook.lessons.writing import lesson_text, write_lessons

TEXT = """# A title

The lead.

## One

```python casebook
>>> 1
1
```

```python keras
>>> 2
2
```

| a | b |
| --- | ---: |
| <b> | 1 |

### Predict: a thing

What?

<details><summary>Answer</summary>

**(b)** Because.

```python
>>> 2
2
```

</details>
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    write_lessons(folder, seed=3)
    return folder


def test_every_link_of_every_page_leads_somewhere(pages: Path) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in pages.glob("*.html")}
    assert set(texts) == {f"{name}.html" for name in (*LESSONS, "questions", "errata", "index")}
    ids = {name: set(re.findall(r' id="([^"]+)"', text)) for name, text in texts.items()}
    for name, text in texts.items():
        for target in re.findall(r'<a href="([^"]+)"', text):
            if not target.startswith("https://"):
                page, _, anchor = html.unescape(target).partition("#")
                assert (page or name) in texts, f"{name} links to {target}"
                assert not anchor or anchor in ids[page or name], f"{name} links to {target}"


def test_a_page_holds_the_whole_lesson(pages: Path) -> None:
    for name in LESSONS:
        text = (pages / f"{name}.html").read_text(encoding="utf-8")
        lesson = read_lesson(name)
        for block in lesson.blocks:
            if block.kind in ("python", "console"):
                line = block.text.splitlines()[-1]
                assert html.escape(line, quote=False) in text, f"{name}: {line}"
            elif block.kind == "heading":
                assert block.text in html.unescape(text)


def test_one_lesson_brings_what_it_links_to(tmp_path: Path) -> None:
    paths = write_lessons(tmp_path, ["classic-networks"])
    assert {path.name for path in paths} >= {"classic-networks.html", "index.html", "questions.html", "answers.toml"}
    assert (tmp_path / "answers.toml").read_text().count("\n[") == (tmp_path / "answers.toml").read_text().count(
        "[classic-networks."
    )


def test_other_formats(tmp_path: Path) -> None:
    (slides, _) = write_lessons(tmp_path, ["classic-networks"], "slides")
    assert slides.name == "classic-networks.slides.html"
    (notebook,) = write_lessons(tmp_path, ["classic-networks"], "ipynb")
    assert json.loads(notebook.read_text())["nbformat"] == 4
    with pytest.raises(DataError, match="unknown format 'pdf'; there are html, slides, ipynb"):
        write_lessons(tmp_path, format="pdf")


def test_parts_of_a_section() -> None:
    (section,) = sections(parse_lesson("x", TEXT).blocks)
    columns, table, exercise = section.parts
    assert [side.title for side in columns.parts] == ["Casebook", "Keras"]
    assert '<td class="number">1</td>' in table.html
    assert exercise.title == "Predict: a thing"
    question, fold = exercise.parts
    assert question.html == "<p>What?</p>\n"
    assert [part.kind for part in fold.parts] == ["html", "html"]
    assert "<b>&gt;&gt;&gt; 2</b>" in fold.parts[1].html


def test_slides_hold_the_lesson_and_each_answer_has_its_own() -> None:
    text = slides_page(parse_lesson("x", TEXT), 0)
    assert re.findall(r'<h2 id="slide-\d">(.+?)</h2>', text) == [
        "One", "Predict: a thing", "Predict: a thing: the answer",
    ]  # fmt: skip
    assert text.count("<details>") == 0


@pytest.mark.parametrize("name", LESSONS)
def test_slides_are_not_overfull(name: str) -> None:
    lesson = read_lesson(name)
    for section in sections(lesson.blocks):
        for part in section.parts:
            if part.kind == "html" and part.blocks[0].kind == "text":
                assert lines_of(part) <= LINES, f"{name}: {part.blocks[0].line}"


@pytest.mark.parametrize(
    ("target", "leads"),
    [
        ("mobilenet.md", "mobilenet.html"),
        ("../questions.md#sizes", "questions.html#sizes"),
        ("README.md", "index.html"),
        ("lessons/README.md", "index.html"),
        ("#here", "#here"),
        ("https://arxiv.org/abs/1512.03385", "https://arxiv.org/abs/1512.03385"),
    ],
)
def test_links(target: str, leads: str) -> None:
    assert page_link(target) == leads
    assert to_html(f"[x]({target})") == f'<p><a href="{leads}">x</a></p>\n'


def test_the_printed_lesson_has_its_answers_at_the_end() -> None:
    text = lesson_text(parse_lesson("x", TEXT), 0)
    assert text.index("What?") < text.index("## Answers") < text.index("**(b)** Because.")
