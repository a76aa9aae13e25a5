"""casebook models, casebook recipes and casebook itself."""

import tomllib

import pytest

import casebook
from casebook.models import list_models
from casebook.training.recipe import RECIPES, Recipe, make_recipe

from .conftest import Command, one_line


def test_models_lists_every_network(command: Command) -> None:
    rows = command("models").out.splitlines()
    assert [row.split()[0] for row in rows[1:]] == list_models()
    assert "11,689,512" in next(row for row in rows if row.startswith("resnet18 "))


@pytest.mark.parametrize(("pattern", "count"), [("plain", 7), ("resnet?", 0), ("resnet*_v1", 3), ("RESNEXT", 4)])
def test_models_takes_a_pattern(command: Command, pattern: str, count: int) -> None:
    result = command("models", pattern, "--json")
    if count:
        assert len(result.json["models"]) == count
    else:
        assert f"no network fits {pattern!r}" in one_line(result)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("arguments", [("models",), ("recipes",), ("study",), ("augment",)])
def test_lists_fit_the_terminal(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = command(*arguments).out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Next: ")) <= width


def test_papers_are_named_by_their_authors(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    rows = {line.split()[0]: line for line in command("models").out.splitlines()}
    assert rows["resnet50"].endswith("2015  He et al.")
    assert rows["efficientnet_b0"].endswith("2019  Tan and Le")
    assert rows["alexnet_owt"].endswith("2014  Krizhevsky")


def test_a_full_name_shows_the_card(command: Command) -> None:
    text = command("models", "resnet50").out
    assert "https://arxiv.org/abs/1512.03385" in text
    assert "departure, bottleneck stride" in text
    assert "learns with recipe scratch" in text
    assert "weights torchvision/IMAGENET1K_V1" in text
    assert [card["name"] for card in command("models", "resnet50", "--json").json["models"]] == ["resnet50"]


def test_an_unknown_network_is_suggested(command: Command) -> None:
    assert "did you mean 'mobilenet_v2'? 'casebook models' lists all" in one_line(command("models", "mobilnet_v2"))


def test_recipes_lists_recipes_and_settings(command: Command) -> None:
    words = [line.split()[0] for line in command("recipes", "--wide").out.splitlines() if line]
    assert words == ["recipe", *RECIPES, "setting", *Recipe.model_fields]


@pytest.mark.parametrize("name", RECIPES)
def test_a_printed_recipe_can_be_trained_by(command: Command, name: str, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(command("recipes", name).out)
    tomllib.loads(path.read_text())
    assert make_recipe(path, data="x") == make_recipe(name, data="x")


def test_an_unknown_recipe_is_suggested(command: Command) -> None:
    assert "did you mean 'digits'? 'casebook recipes' lists all" in one_line(command("recipes", "digit"))


def test_version(command: Command) -> None:
    result = command("--version")
    assert (result.code, result.out) == (0, f"casebook {casebook.__version__}\n")


def test_without_a_command_it_helps(command: Command) -> None:
    result = command()
    assert result.code == 2
    assert "train" in result.out + result.err


@pytest.mark.parametrize("arguments", [["nonsense"], ["models", "--nonsense"], ["data", "nonsense"], ["predict"]])
def test_wrong_usage(command: Command, arguments: list[str]) -> None:
    one_line(command(*arguments), code=2)


@pytest.mark.parametrize(
    "name", ["train", "evaluate", "predict", "models", "recipes", "data check", "explain-cost conv"]
)
def test_every_command_helps(command: Command, name: str) -> None:
    result = command(*name.split(), "--help")
    assert result.code == 0
    assert "--json" in result.out
