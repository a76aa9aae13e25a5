"""A data set -> its pictures decoded and reduced once, on disk, so that trainings need not decode them."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ..data.prepared import (
    RESERVE_BYTES,
    SUFFIX,
    Layout,
    StoredFormat,
    fill,
    find_prepared,
    jpeg_size_bytes,
    open_prepared,
    prepared_folder,
    stored_format,
)
from ..data.scan import choose_value_range, scan
from ..data.sources import Source, load_source
from ..device import Stopwatch, available_cores
from ..errors import DataError, RecipeError, RunError
from ..files import cache_folder
from ..formatting import size_text
from ..models import model_card
from ..preprocessing import Preprocessing
from ..progress import Advanced, PreparedSize, Reporter, Task, silent


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What `prepare_pictures` did, or would do."""

    data: str
    form: StoredFormat
    file: Path
    pictures: int  # that can be read
    already: int  # of these, prepared before
    complete: int  # prepared now
    size_bytes: int  # of the whole file: exactly for raw, about for jpeg
    free_bytes: int  # on its disk, before
    settings: dict[str, Any]  # of a recipe that uses it
    skipped: dict[str, str]
    dry_run: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        skipped = [{"picture": name, "reason": reason} for name, reason in self.skipped.items()]
        return record | {"file": str(self.file), "form": self.form._asdict(), "skipped": skipped}


def prepare_pictures(
    data: str | Path | Source,
    *,
    model: str | None = None,
    side: int | None = None,
    format: Literal["raw", "jpeg"] = "raw",
    workers: int | None = None,
    dry_run: bool = False,
    report: Reporter = silent,
) -> Preparation:
    """Decodes and reduces every picture of a data set, so that trainings need not.

    Without `side` the pictures are what a training of `model` (a network for 224 pixels by default) cuts its crops
    from, which changes no result. May be interrupted and called again. `report` gets Advanced and PreparedSize events.
    Raises DataError, ModelError, and RunError when the disk has no room.
    """
    watch = Stopwatch()
    preprocessing = model_card(model).preprocessing if model else Preprocessing()
    if side is not None and side < preprocessing.size:
        raise RecipeError(f"side is {side}, expected {preprocessing.size} or more, which the network takes")
    if format not in ("raw", "jpeg"):
        raise RecipeError(f"format is {format!r}, expected raw or jpeg")
    source = load_source(data)
    if source.arrays is not None:
        raise DataError(
            f"{source.name} is held in memory as it is, so there is nothing to prepare; expected a folder or list"
        )

    def advance(task: Task) -> Callable[[int, int], None]:
        return lambda done, total: report(Advanced(task, done, total))

    seen = scan(source, progress=advance("scan"), cache_dir=cache_folder())
    form = stored_format(preprocessing, side or 0, format)._replace(value_range=choose_value_range(seen.facts))
    layout, folder = Layout(seen.facts, form), prepared_folder()
    size_bytes = layout.size_bytes if format == "raw" else jpeg_size_bytes(source, layout)
    pictures = len(seen.facts) - len(seen.broken)
    if not pictures:
        raise DataError(f"{source.name}: not one of the {len(seen.facts)} pictures can be read")
    prepared = find_prepared(source, seen.facts, form)
    already = prepared.num_complete() if prepared else 0
    free_bytes = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    settings: dict[str, Any] = {"prepared": "jpeg"} if format == "jpeg" else {}
    if form.side != preprocessing.decode_side:
        settings["prepared_side"] = form.side
    path = folder / f"{layout.key}{SUFFIX}"
    report(
        PreparedSize(
            file=str(path),
            num_pictures=pictures,
            num_present=already,
            side=form.side,
            format=format,
            size_bytes=size_bytes,
            free_bytes=free_bytes,
        )
    )
    complete, skipped = already, {source.pictures[index].name: reason for index, reason in seen.broken.items()}
    if not dry_run:
        left_bytes = size_bytes * (1 - already / pictures)
        if left_bytes > free_bytes - RESERVE_BYTES:
            raise RunError(
                f"prepared pictures would take {size_text(left_bytes)} more in {folder}, whose disk has "
                f"{size_text(free_bytes)} free, of which {size_text(RESERVE_BYTES)} are left alone; choose a smaller "
                "--side or --format jpeg, or set CASEBOOK_CACHE to another folder"
            )
        if prepared is None:
            prepared = open_prepared(source, seen.facts, form, budget_bytes=float("inf"), disk_share=1)
        skipped = fill(source, prepared, workers=workers or available_cores(), progress=advance("prepare"))
        complete = prepared.num_complete()
        prepared.close()
    return Preparation(
        source.name, form, path, pictures, already, complete, size_bytes, free_bytes, settings, skipped, dry_run,
        watch.seconds,
    )  # fmt: skip
