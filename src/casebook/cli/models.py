"""casebook models"""

from typing import TYPE_CHECKING

import typer

from ..tables import TextColumn
from .output import WIDE, print_json, print_table, print_text

if TYPE_CHECKING:
    from casebook.models.card import ModelCard

COLUMNS = (
    TextColumn("name"),
    TextColumn("parameters", right=True),
    TextColumn("multiply-adds", right=True),
    TextColumn("input (px)", right=True),
    TextColumn("year", right=True),
    TextColumn("by", rank=1),
    TextColumn("paper", rank=2),
)


def models(
    pattern: str = typer.Argument(None, help="Part of a name, or a glob; a full name shows its card."),
    timm: str = typer.Option(None, "--timm", metavar="PATTERN", help="List networks of the package timm instead."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """List the networks, or show what is known about one."""
    from casebook.errors import ModelError, did_you_mean
    from casebook.models import list_models, model_card
    from casebook.models.foreign_names import is_foreign

    if timm is not None:
        from casebook.models.foreign import list_timm

        found = list_timm(timm)
        if not found:
            raise ModelError(f"timm has no network that fits {timm!r}; try a shorter part of its name")
        if json_:
            print_json({"models": [{"name": name} for name in found]})
        else:
            print_text("\n".join(found))
        return
    names = [pattern] if pattern and is_foreign(pattern) else list_models(pattern)
    if not names:
        suggestion = did_you_mean(pattern, list_models()) or ";"
        raise ModelError(f"no network fits {pattern!r}{suggestion} 'casebook models' lists all")
    cards = [model_card(name) for name in ([pattern] if pattern in names else names)]
    if json_:
        print_json({"models": [card.to_dict() for card in cards]})
    elif pattern in names:
        print(_card(cards[0]))
    else:
        rows = [
            [card.name, f"{card.parameters:,}", f"{card.multiply_adds:,}", f"{card.input_size}", f"{card.year}",
             _short(card.authors), card.title]
            for card in cards
        ]  # fmt: skip
        print_table(COLUMNS, rows, wide=wide)


def _short(authors: str) -> str:
    """ "K. He, X. Zhang, S. Ren, J. Sun" -> "He et al."; "M. Tan, Q. V. Le" -> "Tan and Le"."""
    names = [name.split()[-1] for name in authors.split(", ")]
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


def _card(card: "ModelCard") -> str:
    lines = [
        f"{card.name}: {card.title}",
        f"  {card.authors}, {card.venue} {card.year}, {card.link}",
        f"  {card.parameters:,} parameters, {card.multiply_adds:,} multiply-adds for one "
        f"{card.input_size}x{card.input_size} picture with {card.in_channels} channels; {card.num_classes} classes; "
        f"smallest input {card.smallest_input}",
        f"  from random weights it learns with recipe {card.recipe}",
    ]
    if card.options:
        lines.append(f"  options: {', '.join(card.options)}")
    for figure in card.published:
        lines.append(f"  published {figure.what}: {figure.value:g} {figure.unit} ({figure.refers_to}; {figure.source})")
    for departure in card.departures:
        lines.append(f"  departure, {departure.what}: {departure.here}; paper: {departure.paper}. {departure.why}")
    for weights in card.weights:
        measured = [
            f"top-{which[3:]} {100 * value:.2f} %" for which in ("top1", "top5") if (value := getattr(weights, which))
        ]
        lines.append(f"  weights {weights.name}: {', '.join([weights.licence, *measured])}")
        lines.append(f"    {weights.url or 'comes with Casebook'}")
        fed = {"size": card.input_size, "crop_fraction": 0.875, "interpolation": "bilinear"} | dict(weights.prepare)
        cut = (
            f" from shorter side {fed['size'] / fed['crop_fraction']:.0f}"
            if fed.get("resize", "shorter") == "shorter"
            else ""
        )
        lines.append(
            f"    {fed['size']}x{fed['size']}{cut}, {fed['interpolation']}; "
            + (f"SHA-256 begins {weights.sha256}" if weights.sha256 else "not proved: no checksum or revision is known")
        )
    return "\n".join(lines)
