"""What a network costs at one input size: the counted layers with their sums, as data and as text. No torch."""

import dataclasses
from typing import Any

from ..errors import ModelError
from . import render
from .records import CONVENTIONS, LayerCost, MemoryEstimate, ModuleOutput, NotCounted, Order, ordered


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a network costs at one input size.

    `layers` are in the order of execution; those of auxiliary heads, which only training runs, come last. `outputs` is
    what each module returns, by dotted name. `traced_multiply_adds` is the count of torch's own counter, if requested.
    """

    network: str
    input_shape: tuple[int, int, int]
    layers: tuple[LayerCost, ...]
    not_counted: tuple[NotCounted, ...]
    memory: MemoryEstimate
    outputs: dict[str, ModuleOutput]
    traced_multiply_adds: int | None = None

    @property
    def total(self) -> LayerCost:
        """The whole network as inference runs it: without auxiliary heads."""
        layers = [layer for layer in self.layers if not layer.training_only]
        return _total("total", layers, self.outputs[""])

    @property
    def stages(self) -> tuple[LayerCost, ...]:
        """Stem, each stage, head and any auxiliary heads; for networks from elsewhere, their outermost modules."""
        groups: dict[str, list[LayerCost]] = {}
        for layer in self.layers:
            groups.setdefault(layer.stage, []).append(layer)
        return tuple(
            _total(stage, inside, self.outputs.get(_module(inside[0], depth=1))) for stage, inside in groups.items()
        )

    @property
    def agrees(self) -> bool | None:
        """Whether torch's own counter gives the same number."""
        return None if self.traced_multiply_adds is None else self.traced_multiply_adds == self.total.multiply_adds

    def at_depth(self, depth: int) -> "Summary":
        """The same with modules at most `depth` levels deep as layers: at depth 1 stem, each stage and head."""
        if depth < 1:
            raise ModelError(f"depth is {depth}, expected at least 1")
        groups: dict[tuple[str, str], list[LayerCost]] = {}
        for layer in self.layers:
            groups.setdefault((layer.stage, _module(layer, depth)), []).append(layer)
        layers = [
            inside[0] if [layer.name for layer in inside] == [name] else _total(name, inside, self.outputs.get(name))
            for (_, name), inside in groups.items()
        ]
        return dataclasses.replace(self, layers=tuple(layers))

    def __str__(self) -> str:
        return self.text()

    def text(self, order: Order = "CHW", *, width: int | None = 120, legend: bool = False) -> str:
        """Tables of the layers and of the stages, and the memory.

        A narrow `width`, in characters, leaves out the less important columns; None shows all. `legend` appends what
        each number means.
        """
        layers = render.layer_table(self.layers, order, width)
        stages = render.stage_table((*self.stages, self.total), order, width)
        facts = self._facts() | (_legend() if legend else {})
        lines = render.fact_lines(facts, width or 120)
        return "\n".join([self._title(order), "", layers.text, "", stages.text, "", *lines])

    def left_out(self, order: Order = "CHW", *, width: int | None = 120) -> tuple[str, ...]:
        """The columns of the layers that `text` leaves out at this width."""
        return render.layer_table(self.layers, order, width).left_out

    def markdown(self, order: Order = "CHW") -> str:
        """The tables of layers and of stages as a Markdown page, with the legend."""
        facts = self._facts() | _legend()
        return "\n".join(
            [
                f"# {self._title(order)}\n",
                *render.layer_markdown(self.layers, order),
                "",
                *render.stage_markdown((*self.stages, self.total), order),
                "",
                *(f"- {name.replace('_', ' ')}: {fact}" for name, fact in facts.items()),
            ]
        )

    def csv(self, order: Order = "CHW") -> str:
        """One line a layer, numbers as they are; an empty cell where there is none."""
        return render.comma_separated(self.layers, order)

    def to_dict(self, order: Order = "CHW") -> dict[str, Any]:
        """As JSON-able data; shapes are (channels, height, width) or, with "HWC", (height, width, channels)."""
        sums = ("parameters", "multiplications", "additions", "multiply_adds", "activation_bytes")
        seen = ("output_shape", "receptive_field", "whole_input")
        traced = {"multiply_adds": self.traced_multiply_adds, "agrees": self.agrees}
        total, stages = self.total.to_dict(order), [stage.to_dict(order) for stage in self.stages]
        return {
            "network": self.network,
            "shape_order": order,
            "input_shape": list(ordered(self.input_shape, order)),
            "total": {key: total[key] for key in sums},
            "stages": [{key: stage[key] for key in ("name", "training_only", *seen, *sums)} for stage in stages],
            "layers": [layer.to_dict(order) for layer in self.layers],
            "memory": self.memory.to_dict(),
            "not_counted": [entry._asdict() for entry in self.not_counted],
            "traced": traced if self.agrees is not None else None,
            "conventions": CONVENTIONS,
        }

    def _title(self, order: Order) -> str:
        shape = " x ".join(map(str, ordered(self.input_shape, order)))
        return f"{self.network}: one picture of {shape} ({' x '.join(order)})"

    def _facts(self) -> dict[str, str]:
        facts = render.memory_facts(self.memory) | render.not_counted_facts(self.not_counted)
        if self.agrees is not None:
            verdict = "the same" if self.agrees else f"not the {self.total.multiply_adds:,} counted here"
            facts["torch's own counter"] = f"{self.traced_multiply_adds:,} multiply-adds, {verdict}"
        return facts


def _legend() -> dict[str, str]:
    return {"columns": render.LEGEND, **CONVENTIONS}


def _module(layer: LayerCost, depth: int) -> str:
    """The module at most `depth` levels deep that holds the layer; "stages.0" is one level, as "stem" is."""
    return ".".join(layer.name.split(".")[: depth + layer.stage.startswith("stage ")])


def _total(name: str, layers: list[LayerCost], output: ModuleOutput | None = None) -> LayerCost:
    """The sum of the layers as one layer, with `output` or else the last layer's output."""
    counted = [layer for layer in layers if layer.multiplications is not None]
    total = layers[-1]._replace(
        name=name, type="", kernel_size=None, stride=None, padding=None, groups=None,
        parameters=sum(layer.parameters for layer in layers),
        multiplications=sum(layer.multiplications or 0 for layer in counted) if counted else None,
        additions=sum(layer.additions or 0 for layer in counted) if counted else None,
        activation_bytes=sum(layer.activation_bytes for layer in layers),
    )  # fmt: skip
    if output is None:
        return total
    return total._replace(
        type=output.type,
        output_shape=output.shape,
        receptive_field=output.receptive_field,
        whole_input=output.whole_input,
    )
