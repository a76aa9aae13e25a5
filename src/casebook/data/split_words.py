"""Folder names and the values of a split column -> train, val and test."""

import re
from collections.abc import Iterable, Mapping

WORDS = {
    "train": "train", "training": "train", "trn": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val", "development": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
PLAIN = {"train", "val", "valid", "validation", "test"}  # need no remark
HELD_OUT = {"holdout", "eval", "evaluation"}  # the test set, or the validation set where there is another test set
FILLER = {
    "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo",
    "photos", "split", "part", "subset", "samples", "files", "folder", "dir",
}  # fmt: skip
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")
_JOINED = re.compile(rf"({'|'.join((*WORDS, *HELD_OUT))})({'|'.join(FILLER)})")


def split_names(names: Iterable[str]) -> dict[str, str]:
    """name -> "train", "val" or "test", for those of the names that mean one.

    "train_images", "TestSet" and "val2017" are such names. Other words are allowed where another split shares them:
    "seg_train" beside "seg_test" is a split, "bullet_train" beside "steam_train" is not.
    """
    read = {name: _read(name) for name in names}
    found = {name: (word, rest) for name, (word, rest) in read.items() if word}
    splits = {
        name: word
        for name, (word, rest) in found.items()
        if not rest or any(rest == other_rest and word != other for other, other_rest in found.values())
    }
    held_out = "val" if "test" in splits.values() else "test"
    return {name: held_out if word == "held out" else word for name, word in splits.items()}


def splits_text(splits: Mapping[str, str]) -> str:
    """ "training_set as train, test_set as test"."""
    order = sorted(splits, key=lambda name: (("train", "val", "test").index(splits[name]), name))
    return ", ".join(f"{name} as {splits[name]}" for name in order)


def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """The split that a name speaks of ("" for none or several, "held out" for either), and its other words."""
    split, rest = "", []
    for token in _TOKEN.findall(re.sub(r"(?i)h[eo]ld[\W_]*out", "holdout", name)):
        word = token.lower()
        if joined := _JOINED.fullmatch(word):
            word = joined[1]
        meaning = "held out" if word in HELD_OUT else WORDS.get(word)
        if meaning and split:
            return "", ()
        if meaning:
            split = meaning
        elif word not in FILLER:
            rest.append(word)
    return split, tuple(rest)
