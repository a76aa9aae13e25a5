"""What is evaluated: a run folder, or a name with weights -> a network that can be asked, and its pictures."""

import dataclasses
from pathlib import Path

from ..data.pictures import find_names, same_name
from ..data.sources import Source, load_source, match_classes, read_class_list
from ..errors import DataError, RunError, WeightsError, did_you_mean
from ..models import create_model, list_models, model_card
from ..models.layers import Network
from ..models.weights import load_into, resolve
from ..preprocessing import Preprocessing
from ..training.distributed import World
from ..training.plan import Data, prepare_data
from ..training.run import Run, open_run

PARTS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Ready:
    """A network in evaluation mode with what its outputs and inputs mean."""

    name: str
    network: Network
    classes: tuple[str, ...]
    class_list: tuple | None
    preprocessing: Preprocessing
    run: Run | None


def get_ready(model: str | Path, weights: str | Path | None = None, classes: str | Path | None = None) -> Ready:
    """A run folder, or a network's name with weights and perhaps a class list.

    Raises RunError, WeightsError or DataError for what is neither, or does not fit.
    """
    if str(model) in list_models():
        if weights is None:
            raise WeightsError(f"{model} is a network's name; add --weights, or give a run folder")
        found = resolve(weights, str(model))
        network = create_model(str(model), num_classes=found.num_classes, **found.options)
        load_into(network, found, replace_head=False)
        entries = _class_list(classes, found.num_classes)
        if entries is not None:
            names = tuple(entry.name for entry in entries)
        else:
            names = found.classes or tuple(str(i) for i in range(found.num_classes))
        preprocessing = found.preprocessing or model_card(str(model)).preprocessing
        return Ready(str(model), network.eval(), tuple(names), entries, preprocessing, None)
    if not Path(model).exists() and "/" not in str(model):
        suggestion = did_you_mean(str(model), list_models()) or ";"
        raise RunError(
            f"there is no run folder and no network {str(model)!r}{suggestion} 'casebook models' lists the networks"
        )
    run = open_run(model)
    if weights is not None:
        raise WeightsError(f"{model} is a run folder and has weights of its own; leave out --weights")
    entries = _class_list(classes, len(run.classes))
    names = run.classes if entries is None else tuple(entry.name for entry in entries)
    return Ready(str(model), run.network(), names, entries, run.preprocessing, run)  # type: ignore[arg-type]


def _class_list(path: str | Path | None, num_outputs: int) -> tuple | None:
    """The entries of a class list in the order of the outputs that they name."""
    if path is None:
        return None
    entries = read_class_list(path)
    if len(entries) != num_outputs:
        raise DataError(f"{path} lists {len(entries)} classes, but the weights have {num_outputs} outputs")
    return entries


def find_pictures(
    ready: Ready, data: str | Path | Source | None, split: str
) -> tuple[Source, tuple[int, ...], str, list[str], Data | None]:
    """The source with labels that are the network's outputs, the pictures to score, the part that they are, remarks,
    and the run's own data where that is what was asked for.

    Raises DataError for data that cannot be scored so.
    """
    if split not in ("auto", "all", *PARTS):
        raise DataError(f"split is {split!r}, expected auto, all, train, val or test")
    if data is None:
        if ready.run is None:
            raise DataError("no data is named; give a folder, a CSV file or a built-in name")
        own = own_data(ready.run)
        part = "test" if split == "auto" else split
        parts = PARTS if part == "all" else (part,)
        return own.source, tuple(i for name in parts for i in getattr(own.split, name)), part, [], own
    source, notes = with_classes_of(load_source(data), ready)
    present = {picture.split for picture in source.pictures}
    part = split if split != "auto" else "test" if "test" in present else "all"
    if part != "all" and part not in present:
        raise DataError(f"{source.name} has no {part} split; it has {', '.join(sorted(present - {''})) or 'none'}")
    indices = tuple(i for i, picture in enumerate(source.pictures) if part in ("all", picture.split))
    return source, indices, part, notes, None


def own_data(run: Run) -> Data:
    """The data that a run was trained on, with its split. Raises RunError where its classes are others by now."""
    data = prepare_data(run.recipe, run, World(), known_split=True)
    if not all(map(same_name, data.source.classes, run.classes)) or len(data.source.classes) != len(run.classes):
        raise RunError(f"{run.path}: the classes of {run.recipe.data} have changed since the training; name the data")
    return data


def with_classes_of(source: Source, ready: Ready) -> tuple[Source, list[str]]:
    """The source with its labels turned into the network's outputs. Raises DataError naming what fits nowhere."""
    notes: list[str] = []
    if ready.class_list is not None:
        outputs = match_classes(source.classes, ready.class_list)
    else:
        places = find_names(source.classes, ready.classes)
        unknown = [name for name, place in places.items() if place is None]
        if unknown:
            raise DataError(
                f"{source.name}: {len(unknown)} classes that {ready.name} does not know: {', '.join(unknown[:5])}"
                f"{' ...' if len(unknown) > 5 else ''}; it knows {', '.join(ready.classes[:10])}"
                f"{' ...' if len(ready.classes) > 10 else ''}. Rename the folders, or give a class list by --classes"
            )
        outputs = tuple(place for place in places.values() if place is not None)
        notes += [
            f"the class {name!r} is scored as {known!r}"
            for name, known in zip(places, (ready.classes[place] for place in outputs), strict=True)
            if not same_name(name, known)
        ]
    pictures = tuple(picture._replace(label=outputs[picture.label]) for picture in source.pictures)
    if len(set(outputs)) < len(ready.classes):
        notes.append(
            f"{source.name} holds {len(set(outputs))} of the network's {len(ready.classes)} classes; scored against all"
        )
    return dataclasses.replace(source, pictures=pictures, classes=ready.classes), notes
