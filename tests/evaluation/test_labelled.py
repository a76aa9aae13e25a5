"""The classes of a data set are found among those of a network."""

import unicodedata
from pathlib import Path

import pytest
from torch import nn

from casebook.data.pictures import Picture, Source
from casebook.errors import DataError
from casebook.evaluation.classifier import Classifier
from casebook.evaluation.labelled import with_classes_of
from casebook.preprocessing import Preprocessing

CAFE, CAFE_DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def knowing(*classes: str) -> Classifier:
    return Classifier("run", nn.Identity(), Preprocessing(), classes)


def source(*classes: str) -> Source:
    pictures = (Picture(f"{name}/0.png", label) for label, name in enumerate(classes))
    return Source("data", Path("data"), classes, tuple(pictures))


def test_classes_match_whatever_their_unicode_form() -> None:
    for here, there in ((CAFE, CAFE_DECOMPOSED), (CAFE_DECOMPOSED, CAFE)):
        found, notes = with_classes_of(source(here, "tea"), knowing("tea", there))
        assert [picture.label for picture in found.pictures] == [1, 0]
        assert found.classes == ("tea", there)
        assert notes == []


def test_classes_match_in_another_case_where_one_fits() -> None:
    found, notes = with_classes_of(source("CAT", "dog"), knowing("cat", "dog"))
    assert [picture.label for picture in found.pictures] == [0, 1]
    assert notes == ["the class 'CAT' is scored as 'cat'"]
    found, notes = with_classes_of(source("Cat", "cat"), knowing("cat", "Cat"))
    assert [picture.label for picture in found.pictures] == [1, 0]
    with pytest.raises(DataError, match="1 classes that run does not know: CAT"):
        with_classes_of(source("CAT", "dog"), knowing("cat", "Cat", "dog"))
