"""A data set -> tar shards with an index, in a folder that any web server or object store can serve."""

import dataclasses
from pathlib import Path
from typing import Any

from ..data.shard_writer import write_shards
from ..data.sources import Source, load_source
from ..device import Stopwatch
from ..progress import Advanced, Reporter, silent


@dataclasses.dataclass(frozen=True)
class Sharding:
    """What `shard_pictures` wrote."""

    data: str
    out: str
    pictures: int
    classes: int
    shards: int
    size_bytes: int  # of all shards
    skipped: dict[str, str]  # pictures that could not be read, with the reason
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        skipped = [{"picture": name, "reason": reason} for name, reason in self.skipped.items()]
        return dataclasses.asdict(self) | {"skipped": skipped}


def shard_pictures(
    data: str | Path | Source, out: str | Path, *, shard_mb: int = 256, report: Reporter = silent
) -> Sharding:
    """Writes the pictures of a folder or list, byte for byte, as tar shards of about `shard_mb` MB below `out`.

    The set is data like the folder: training from it ends with the same weights, bit for bit. `report` gets Advanced
    events. Raises DataError, and RunError where `out` cannot be written.
    """
    watch = Stopwatch()
    source = load_source(data)
    written = write_shards(
        source, Path(out).expanduser(), shard_mb=shard_mb,
        progress=lambda done, total: report(Advanced("prepare", done, total)),
    )  # fmt: skip
    size_bytes = sum(shard.size_bytes for shard in written.shards)
    return Sharding(
        source.name, str(out), written.pictures, len(source.classes), len(written.shards), size_bytes, written.skipped,
        watch.seconds,
    )  # fmt: skip
