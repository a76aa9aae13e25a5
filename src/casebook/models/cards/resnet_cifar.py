"""ResNet and its plain twins on CIFAR-10. The paper's figures are from Table 6."""

from ..card import Departure, Figure, ModelCard, PublishedWeights
from .resnet import PAPER

PREPARE = {
    "resize": "squash",
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616),
}
INPUT = Departure(
    "input",
    "subtracts the mean of each pixel",
    "normalises each channel by mean and deviation",
    "works for any data set",
)


def card(
    name: str,
    parameters: int,
    multiply_adds: int,
    *published: Figure,
    option: str = "shortcut",
    recipe: str = "small",
    weights: tuple[PublishedWeights, ...] = (),
) -> ModelCard:
    return ModelCard(
        name=name,
        family="resnet_cifar",
        paper=PAPER,
        parameters=parameters,
        multiply_adds=multiply_adds,
        prepare=PREPARE,
        published=published,
        departures=(INPUT,),
        weights=weights,
        options=(option,),
        input_size=32,
        num_classes=10,
        smallest_input=5,
        recipe=recipe,
    )


def plain(name: str, parameters: int, multiply_adds: int, recipe: str = "small") -> ModelCard:
    return card(name, parameters, multiply_adds, option="linear_start", recipe=recipe)


def packaged(name: str, top1: float, top5: float, sha256: str) -> PublishedWeights:
    """The weights `cifar10` that come with Casebook."""
    return PublishedWeights(
        name="cifar10",
        repository="",
        layout="casebook",
        licence="Apache-2.0",
        source="recipe cifar-short on CIFAR-10 as JPEG files of about quality 75, scored on its 10,000 test pictures; "
        "12.01 % error is not the paper's 8.75 %",
        prepare=PREPARE | {"size": 32},
        file=f"{name}_cifar10.safetensors",
        packaged=True,
        sha256=sha256,
        top1=top1,
        top5=top5,
    )


def table6(parameters: float, error: float, runs: str = "") -> tuple[Figure, Figure]:
    return (
        Figure("parameters", parameters, "count", "rounded", "Table 6"),
        Figure("test_error", error, "%", f"CIFAR-10 test{runs}", "Table 6"),
    )


CARDS = {
    "resnet20": card(
        "resnet20",
        269_722,
        40_551_040,
        *table6(0.27e6, 8.75),
        weights=(
            packaged("resnet20", 0.8799, 0.9958, "6d20ddbfaf81a05f7cdf310142a8bad76e843c0c4d26c343c4eb0e78b916ed10"),
        ),
    ),
    "resnet32": card("resnet32", 464_154, 68_862_592, *table6(0.46e6, 7.51)),
    "resnet44": card("resnet44", 658_586, 97_174_144, *table6(0.66e6, 7.17)),
    "resnet56": card("resnet56", 853_018, 125_485_696, *table6(0.85e6, 6.97)),
    "resnet110": card("resnet110", 1_727_962, 252_887_680, *table6(1.7e6, 6.43, ", best of 5 runs (6.61 +- 0.16)")),
    # At the others' learning rate, the first steps of SGD throw the sum of 600 branches far off.
    "resnet1202": card("resnet1202", 19_421_274, 2_829_238_912, *table6(19.4e6, 7.93), recipe="classic"),
    "plain20": plain("plain20", 269_722, 40_551_040),
    "plain32": plain("plain32", 464_154, 68_862_592, "plain"),
    "plain44": plain("plain44", 658_586, 97_174_144, "plain"),
    "plain56": plain("plain56", 853_018, 125_485_696, "plain"),
    "plain110": plain("plain110", 1_727_962, 252_887_680, "plain"),
}
