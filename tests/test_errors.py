import pickle

from casebook.errors import PictureError, did_you_mean


def test_the_nearest_name_is_proposed_and_the_first_of_equals() -> None:
    known = ["resnet18", "resnet50", "resnet56", "mobilenet_v2"]
    assert did_you_mean("resnet51", known) == "; did you mean 'resnet50'?"
    assert did_you_mean("mobilnet", known) == "; did you mean 'mobilenet_v2'?"
    assert did_you_mean("zzz", known) == ""


def test_picture_errors_survive_the_way_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(PictureError("a.jpg", "cut short")))
    assert (error.name, error.reason, str(error)) == ("a.jpg", "cut short", "a.jpg: cut short")
