"""casebook lesson"""

import typer

from ..tables import TextColumn
from .output import WIDE, next_step, print_json, print_table, wrong_usage


def lesson(
    name: str = typer.Argument(None, help="A lesson; without one all of them. 'check' marks a file of answers."),
    answers: str = typer.Argument(None, help="After 'check': the file of answers."),
    out: str = typer.Option(None, "--out", "-o", help="Folder to write to; without it the lesson is printed."),
    format_: str = typer.Option("html", "--format", help="html: pages; slides: for 16:9 and print; ipynb: notebooks."),
    seed: int = typer.Option(0, "--seed", min=0, help="The numbers of the exercises; give each student another."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Read the lessons on the classic networks, write them as pages, slides or notebooks, and mark your answers."""
    if name == "check":
        if answers is None:
            raise wrong_usage("check needs a file: casebook lesson check answers.toml")
        _check(answers, wide, json_)
    elif answers is not None:
        raise wrong_usage(f"got {name} and {answers}; only 'check' takes a file")
    elif out is not None:
        _write(name, out, format_, seed, json_)
    elif name is None:
        _list(wide, json_)
    else:
        _print(name, seed, json_)


def _check(path: str, wide: bool, json_: bool) -> None:
    from casebook.lessons.marking import mark_file

    marks = mark_file(path)
    if json_:
        print_json({"answers": [mark._asdict() for mark in marks]})
        return
    columns = [TextColumn("exercise", fold=28), TextColumn("asked"), TextColumn("yours", fold=16), TextColumn("mark")]
    rows = [[f"{mark.lesson}.{mark.exercise}", mark.key, mark.given, mark.outcome] for mark in marks]
    print_table(columns, rows, wide=wide)
    counted = {outcome: sum(mark.outcome == outcome for mark in marks) for outcome in ("right", "wrong", "open")}
    print(f"{counted['right']} of {len(marks)} right, {counted['wrong']} wrong, {counted['open']} open")
    for mark in marks:
        if mark.remark:
            print(f"{mark.exercise}, {mark.key}: {mark.remark}")


def _write(name: str | None, out: str, format_: str, seed: int, json_: bool) -> None:
    from casebook.lessons import LESSONS
    from casebook.lessons.writing import write_lessons

    paths = write_lessons(out, [name] if name else LESSONS, format_, seed)
    if json_:
        print_json({"folder": out, "seed": seed, "files": [str(path) for path in paths]})
        return
    for path in paths:
        print(path)
    next_step(f"casebook lesson check {out}/answers.toml", "marks it")


def _list(wide: bool, json_: bool) -> None:
    from casebook.lessons import LESSONS
    from casebook.lessons.source import read_lesson

    lessons = [read_lesson(name) for name in LESSONS]
    if json_:
        print_json({"lessons": [{"lesson": one.name, "title": one.title} for one in lessons]})
        return
    print_table((TextColumn("lesson"), TextColumn("title", fold=30)), [[one.name, one.title] for one in lessons],
                wide=wide)  # fmt: skip
    print("Next: casebook lesson classic-networks, or --out FOLDER for pages of all")


def _print(name: str, seed: int, json_: bool) -> None:
    from casebook.lessons.exercises import exercises
    from casebook.lessons.source import read_lesson
    from casebook.lessons.writing import lesson_text

    lesson = read_lesson(name)
    if json_:
        asked = [{"exercise": one.name, "kind": one.kind, "asks": one.asks} for one in exercises(lesson, seed)]
        print_json({"lesson": lesson.name, "title": lesson.title, "seed": seed, "exercises": asked})
        return
    print(lesson_text(lesson, seed), end="")
