"""Predict many pictures into files: a call that was killed goes on where it stopped, and ends with the same bytes."""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import DataError, RunError
from ..preprocessing import Preprocessing
from ..progress import Advanced, Remark, Reporter, reporting
from ..runner.answers import Answer, PictureClassifier
from ..runner.reading import NamedPicture, Pictures, named_pictures
from .answer_files import SortWith, sort_pictures, write_table
from .answer_journal import Journal
from .answering import Answering, Here, Model, ModelFacts, ModelFiles, Question
from .predict import open_classifier, with_shards
from .ray_workers import OnRay, RayWorkers

MOST_SHOWN = 60  # pictures of each group are on a contact sheet


@dataclasses.dataclass(frozen=True)
class AnswerFiles:
    """Where answers go: at least one of these."""

    out: str | Path | None = None
    """A table, .csv or .parquet: a row for each picture."""
    sort_into: str | Path | None = None
    """A new or empty folder, which gets a folder for each class with links to its pictures."""
    contact_sheet: str | Path | None = None
    """A page, .html, with the pictures of each class, the least certain first."""
    sort_with: SortWith = "link"
    """"copy" copies the pictures in place of linking to them."""

    def __post_init__(self) -> None:
        """Raises RunError for names that cannot be meant."""
        from ..evaluation.saved import check_suffix

        if not self.all:
            raise RunError("no file is named for the answers; give out, sort_into or contact_sheet")
        if self.out is not None:
            check_suffix(self.out)
        if self.contact_sheet is not None and Path(self.contact_sheet).suffix.lower() not in (".html", ".htm"):
            raise RunError(f"{self.contact_sheet}: a contact sheet is a page; choose a name that ends in .html")
        if self.sort_with not in ("link", "copy"):
            raise RunError(f"sort_with is {self.sort_with!r}, expected 'link' or 'copy'")
        for given in (self.out, self.contact_sheet):
            if given is not None and Path(given).is_dir():
                raise RunError(f"{given} is a folder, expected the name of a file")
        if self.sort_into is not None and Path(self.sort_into).exists() and not Path(self.sort_into).is_dir():
            raise RunError(f"{self.sort_into} is no folder; choose the name of a new one")

    @property
    def all(self) -> list[Path]:
        """The names that are given."""
        return [Path(name) for name in (self.out, self.sort_into, self.contact_sheet) if name is not None]

    @property
    def journal(self) -> Path:
        """The file of the answers so far, which is removed at the end."""
        first = self.all[0]
        return first.with_name(f"{first.name}.part")


@dataclasses.dataclass(frozen=True)
class SavedAnswers:
    """What a prediction into files did."""

    model: str
    files: AnswerFiles
    num_pictures: int
    num_earlier: int
    """Answered by an earlier call that was interrupted."""
    num_errors: int
    """Pictures that could not be read."""
    num_unsure: int
    classes: dict[str, int]
    """How many pictures each class got, the most first; classes without any are left out."""
    num_unsorted: int
    """Pictures without a file, which `sort_into` leaves out."""

    def to_dict(self) -> dict[str, Any]:
        """The document that `casebook predict --json` prints where answers go into files."""
        files = self.files
        return {
            "model": self.model,
            "out": None if files.out is None else str(files.out),
            "sorted_into": None if files.sort_into is None else str(files.sort_into),
            "contact_sheet": None if files.contact_sheet is None else str(files.contact_sheet),
            "pictures": self.num_pictures,
            "earlier": self.num_earlier,
            "errors": self.num_errors,
            "unsure": self.num_unsure,
            "unsorted": self.num_unsorted,
            "classes": [{"class": name, "pictures": number} for name, number in self.classes.items()],
        }


def predict_into(
    files: AnswerFiles,
    model: Model,
    pictures: Pictures,
    *,
    top: int = 5,
    batch_size: int = 0,
    unsure: float | None = None,
    workers: RayWorkers | None = None,
    progress: bool | Reporter = False,
) -> SavedAnswers:
    """Answers every picture, as `predict` does, into a table, a sorted folder or a page.

    The answers so far are kept beside the first file, in a file that ends in `.part`. The same call goes on from there
    after it was interrupted, with the same number of threads, and ends with the same bytes. Pictures are recognised by
    their names. `pictures` are files, folders, patterns and sets of shards. With `workers`, the pictures are answered
    on a Ray cluster; one process with the same number of threads gives the same bytes.

    Raises RunError where the files cannot be written or belong to another call, and what `predict` raises.
    """
    if top < 1:
        raise DataError(f"top is {top}, expected 1 or more classes")
    named = list(named_pictures(with_shards(pictures)))
    if any(picture.image is not None for picture in named):
        raise DataError("a picture is an image in memory; predict_into answers files, so that it can go on with them")
    _check_folder(files, pictures)
    with reporting(progress) as report, _answering(model, Question(top, unsure), workers, report) as answering:
        facts = answering.facts
        if facts.has_many_labels:
            raise RunError(
                f"{facts.name} gives a picture several classes, and these files hold one answer a picture; "
                "use 'casebook predict --json'"
            )
        size, top = batch_size or facts.batch_size, min(top, len(facts.classes))
        asked = {"batch_size": size, "top": top, "unsure": unsure} | facts.digest
        with Journal(files.journal, asked, answering.threads(size, len(named))) as journal:
            journal.resume([picture.name for picture in named], size)
            if (earlier := journal.num_answered) or _is_sorted(files):
                report(Remark(f"going on: {earlier} of {len(named)} pictures are answered already"))
            for batch in answering.answered(named[earlier:], size, journal.threads):
                journal.add(batch)
                report(Advanced("predict", journal.num_answered, len(named)))
            found = _written(files, journal, named, facts, earlier)
            journal.remove()
    return found


def _answering(
    model: Model, question: Question, workers: RayWorkers | None, report: Reporter
) -> AbstractContextManager[Answering]:
    if workers is None:
        opened = model.open() if isinstance(model, ModelFiles) else open_classifier(model)
        return nullcontext(Here(opened, question))
    if isinstance(model, PictureClassifier):
        raise RunError(f"{model.name} is open in this process; workers open it themselves, so give its path")
    return OnRay(workers, model if isinstance(model, ModelFiles) else ModelFiles(model), question, report)


def _written(
    files: AnswerFiles, journal: Journal, named: Sequence[NamedPicture], facts: ModelFacts, earlier: int
) -> SavedAnswers:
    """Writes the files that are asked for."""
    unsorted = 0
    if files.out is not None:
        write_table(Path(files.out), journal.answers(), journal.asked["top"])
    if files.sort_into is not None:
        Path(files.sort_into).mkdir(parents=True, exist_ok=True)
        both = zip(journal.answers(), named, strict=True)
        unsorted = sort_pictures(Path(files.sort_into), both, facts.classes, files.sort_with)
    found = _counted(journal, facts.name, files, earlier, unsorted)
    if files.contact_sheet is not None:
        _write_sheet(files.contact_sheet, found, zip(journal.answers(), named, strict=True), facts)
    return found


def _check_folder(files: AnswerFiles, pictures: Pictures) -> None:
    """Raises RunError for a folder to sort into that holds other things, or lies in a folder that is to be answered."""
    if files.sort_into is None:
        return
    folder = Path(files.sort_into)
    if _is_sorted(files) and not files.journal.exists():
        raise RunError(f"{folder}: holds files already; choose a new or an empty folder")
    given = [pictures] if isinstance(pictures, str | Path) else pictures if isinstance(pictures, list | tuple) else ()
    for one in given:
        if isinstance(one, str | Path) and folder.resolve().is_relative_to(Path(one).expanduser().resolve()):
            raise RunError(f"{folder} lies in {one}, whose pictures are to be sorted; choose a folder outside of it")


def _is_sorted(files: AnswerFiles) -> bool:
    folder = None if files.sort_into is None else Path(files.sort_into)
    return folder is not None and folder.is_dir() and any(folder.iterdir())


def _counted(journal: Journal, model: str, files: AnswerFiles, earlier: int, unsorted: int) -> SavedAnswers:
    classes: Counter[str] = Counter()
    errors = unsure = 0
    for answer in journal.answers():
        if answer.error is not None:
            errors += 1
        elif answer.label is None:
            unsure += 1
        else:
            classes[answer.label] += 1
    found = dict(classes.most_common())
    return SavedAnswers(model, files, journal.num_answered, earlier, errors, unsure, found, num_unsorted=unsorted)


Answered = tuple[Answer, NamedPicture]


def _write_sheet(path: str | Path, found: SavedAnswers, answered: Iterator[Answered], facts: ModelFacts) -> None:
    from ..reports.contact_sheet import Shown, write_contact_sheet

    doubtful: dict[str | None, list[tuple[float, int, Shown]]] = {}
    for place, (answer, picture) in enumerate(answered):
        if answer.error is not None:
            continue
        kept = doubtful.setdefault(answer.label, [])
        shown = Shown(answer, _opener(picture, facts.preprocessing))
        # The heap's first is the most certain of those kept, which a less certain one replaces.
        entry = (-answer.probability, -place, shown)
        heapq.heappush(kept, entry) if len(kept) < MOST_SHOWN else heapq.heappushpop(kept, entry)
    order = sorted(doubtful, key=lambda label: (label is None, -found.classes.get(label or "", 0), label or ""))
    groups = [(label, [shown for *_, shown in sorted(doubtful[label], reverse=True)]) for label in order]
    write_contact_sheet(path, found.to_dict(), groups)


def _opener(picture: NamedPicture, preprocessing: Preprocessing) -> Callable[[], Any]:
    """A function that opens the picture, small where its format allows that."""

    def opened() -> Any:
        from ..data.decode import open_picture

        content = picture.get() if picture.get else Path(picture.name)
        return open_picture(content, name=picture.name, min_side=256, value_range=preprocessing.value_range)

    return opened
