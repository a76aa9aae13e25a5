"""The worked computations of the case studies, for any sizes: `explain("separable", filters=512)`.

`COMPUTATIONS` is the table of them: a name, the function that fills the worksheet, a title and the formula. The
function's parameters are those of the computation; their defaults are the example that lectures usually show. The
command line is built from this table.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

from ..errors import ModelError, did_you_mean
from .formulas import Cost, conv2d, linear, receptive_field, total
from .parameters import Chain, Counts, Shape, Windows, read, read_layers, written
from .steps import Padding, Sides, WorkedComputation, Worksheet, decimal, factors, shape, show

ALEXNET = read_layers(
    "layers",
    "conv11-96/4,pool3/2,conv5-256+2,pool3/2,conv3-384+1,conv3-384+1,conv3-256+1,pool3/2,fc4096,fc4096,fc1000",
)
THREE_3X3 = Windows(((3, 1), (3, 1), (3, 1)))
RESNET50 = Counts((3, 4, 6, 3))


def _output_size(
    *,
    size: Sides = (227, 227),
    kernel_size: Sides = (11, 11),
    stride: int = 4,
    padding: Padding = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Worksheet:
    sheet = Worksheet()
    height, width = sheet.output("output", size, kernel_size, stride, padding, dilation, ceil_mode)
    return sheet.finish(f"{shape(*size)} becomes {shape(height, width)}.", height=height, width=width)


class Convolution(NamedTuple):
    """The settings of a convolutional layer."""

    in_channels: int = 192
    filters: int = 32
    kernel_size: Sides = (5, 5)
    stride: int = 1
    padding: Padding = "same"
    dilation: int = 1
    groups: int = 1
    no_bias: bool = False


CONVOLUTION = Convolution()


def _conv(*, size: Sides = (28, 28), layer: Convolution = CONVOLUTION) -> Worksheet:
    in_channels, filters, kernel_size, stride, padding, dilation, groups, no_bias = layer
    sheet, bias = Worksheet(), not no_bias
    output = sheet.output("output", size, kernel_size, stride, padding, dilation)
    cost = conv2d(in_channels, filters, kernel_size, output, groups=groups, bias=bias)
    products, outputs = factors(*kernel_size, in_channels // groups), factors(*output, filters)
    sheet.step("output", outputs, prod(output) * filters, "values")
    sheet.step("parameters", f"({products}) x {filters:,}" + bias * f" + {filters:,}", cost.parameters)
    sheet.step("multiplications", f"{outputs} x ({products})", cost.multiplications)
    sheet.step("additions", f"{outputs} x ({products} - 1{bias * ' + 1'})", cost.additions)
    return sheet.finish(
        f"{shape(*size, in_channels)} becomes {shape(*output, filters)} with {cost.parameters:,} parameters and "
        f"{cost.multiplications:,} multiplications.",
        output=shape(*output, filters), values=prod(output) * filters, **cost._asdict(),
    )  # fmt: skip


def _linear(
    *, inputs: Shape = (6, 6, 256), outputs: int = 4096, positions: int = 1, no_bias: bool = False
) -> Worksheet:
    sheet, bias, features = Worksheet(), not no_bias, prod(inputs)
    cost = linear(features, outputs, bias=bias, positions=positions)
    if len(inputs) > 1:
        sheet.step("inputs", factors(*inputs), features, "features")
    sheet.step("parameters", factors(features, outputs) + bias * f" + {outputs:,}", cost.parameters)
    places = [positions] if positions > 1 else []
    sheet.step("multiplications", factors(*places, outputs, features), cost.multiplications)
    sheet.step("additions", f"{factors(*places, outputs)} x ({features:,} - 1{bias * ' + 1'})", cost.additions)
    return sheet.finish(
        f"{features:,} features become {outputs:,} with {cost.parameters:,} parameters.", **cost._asdict()
    )


def _pool(
    *,
    size: Sides = (55, 55),
    channels: int = 96,
    kernel_size: Sides = (3, 3),
    stride: int = 2,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> Worksheet:
    sheet = Worksheet()
    output = sheet.output("output", size, kernel_size, stride, padding, ceil_mode=ceil_mode)
    before = sheet.step("input", factors(*size, channels), prod(size) * channels, "values")
    after = sheet.step("output", factors(*output, channels), prod(output) * channels, "values")
    return sheet.finish(
        f"{shape(*size, channels)} becomes {shape(*output, channels)}: height and width shrink, the {channels:,} "
        "channels stay, and there is nothing to learn.",
        output=shape(*output, channels), parameters=0, values_before=before, values_after=after,
    )  # fmt: skip


def _separable(
    *,
    size: Sides = (6, 6),
    in_channels: int = 3,
    filters: int = 5,
    kernel_size: Sides = (3, 3),
    stride: int = 1,
    padding: Padding = 0,
    multiplier: int = 1,
) -> Worksheet:
    sheet, wide = Worksheet(), in_channels * multiplier
    output = sheet.output("output", size, kernel_size, stride, padding)
    normal = sheet.convolution("normal convolution", in_channels, filters, kernel_size, output)
    deep = sheet.convolution("depthwise step", in_channels, wide, kernel_size, output, groups=in_channels)
    point = sheet.convolution("pointwise step", wide, filters, (1, 1), output)
    both = sheet.total("both steps", [deep.multiplications, point.multiplications], "multiplications")
    ratio = sheet.ratio("ratio", both, normal.multiplications)
    area = prod(kernel_size)
    formula = Fraction(multiplier, filters) + Fraction(multiplier, area)
    sheet.step("ratio by the formula", f"{multiplier} / {filters:,} + {multiplier} / {area}", formula)
    weights = sheet.total("weights", [deep.parameters, point.parameters], "weights without biases")
    return sheet.finish(
        f"{shape(*output, filters)} costs {show(both)} multiplications in two steps against {show(normal[1])} in one: "
        f"{decimal(float(1 / ratio))} times fewer.",
        output=shape(*output, filters), normal=normal.multiplications, depthwise=deep.multiplications,
        pointwise=point.multiplications, separable=both, ratio=ratio, ratio_by_formula=formula, times_fewer=1 / ratio,
        normal_weights=normal.parameters, separable_weights=weights,
    )  # fmt: skip


def _bottleneck(
    *, size: Sides = (28, 28), in_channels: int = 192, filters: int = 32, kernel_size: Sides = (5, 5), reduce: int = 16
) -> Worksheet:
    sheet = Worksheet()
    direct = sheet.convolution("direct", in_channels, filters, kernel_size, size)
    first = sheet.convolution("1x1 to the bottleneck", in_channels, reduce, (1, 1), size)
    second = sheet.convolution("from the bottleneck", reduce, filters, kernel_size, size)
    both = sheet.total("both steps", [first.multiplications, second.multiplications], "multiplications")
    times = sheet.ratio("saving", direct.multiplications, both)
    each = sheet.step("for each 1x1 filter", f"{both:,} / {reduce:,}", both // reduce, "multiplications")
    limit = sheet.step("1x1 filters that cost no more", f"floor({direct.multiplications:,} / {each:,})",
                      direct.multiplications // int(each))  # fmt: skip
    return sheet.finish(
        f"Through {reduce:,} 1x1 filters the layer costs {both:,} multiplications instead of "
        f"{direct.multiplications:,}: {decimal(float(times))} times fewer.",
        direct=direct.multiplications, first=first.multiplications, second=second.multiplications, bottleneck=both,
        times_fewer=times, each=each, break_even=limit, direct_weights=direct.parameters,
        bottleneck_weights=first.parameters + second.parameters,
    )  # fmt: skip


def _resnet_bottleneck(
    *, size: Sides = (56, 56), channels: int = 256, width: int = 64, kernel_size: Sides = (3, 3)
) -> Worksheet:
    sheet, window = Worksheet(), shape(*kernel_size)
    steps = (
        (f"first {window} of the basic block", channels, channels, kernel_size),
        (f"second {window} of the basic block", channels, channels, kernel_size),
        ("1x1 down", channels, width, (1, 1)),
        (f"{window} between", width, width, kernel_size),
        ("1x1 up", width, channels, (1, 1)),
    )
    costs = [sheet.convolution(what, into, out, kernel, size) for what, into, out, kernel in steps]
    plain = sheet.total("basic block", [cost.multiplications for cost in costs[:2]], "multiplications")
    narrow = sheet.total("bottleneck block", [cost.multiplications for cost in costs[2:]], "multiplications")
    basic_weights = sheet.total("basic block", [cost.parameters for cost in costs[:2]], "weights without biases")
    weights = sheet.total("bottleneck block", [cost.parameters for cost in costs[2:]], "weights without biases")
    times = sheet.ratio("saving", plain, narrow)
    return sheet.finish(
        f"On {channels:,} channels the bottleneck block costs {decimal(float(times))} times less than two {window} "
        "layers.",
        basic=plain, bottleneck=narrow, times_fewer=times, basic_weights=basic_weights, bottleneck_weights=weights,
    )  # fmt: skip


def _inception(
    *,
    size: Sides = (28, 28),
    in_channels: int = 256,
    conv1: int = 128,
    reduce3: int = 64,
    conv3: int = 192,
    reduce5: int = 64,
    conv5: int = 96,
    pool_projection: int = 64,
) -> Worksheet:
    sheet = Worksheet()
    naive = [
        sheet.convolution(f"naive: {kernel}x{kernel}, {filters}", in_channels, filters, (kernel, kernel), size)
        for kernel, filters in ((1, conv1), (3, conv3), (5, conv5))
    ]
    naive_sum = sheet.total("naive module", [cost.multiplications for cost in naive], "multiplications")
    naive_depth = sheet.total("naive depth, with the pooled input", [conv1, conv3, conv5, in_channels], "channels")
    lean = [
        sheet.convolution(f"1x1, {conv1}", in_channels, conv1, (1, 1), size),
        sheet.convolution(f"1x1, {reduce3} before the 3x3", in_channels, reduce3, (1, 1), size),
        sheet.convolution(f"3x3, {conv3}", reduce3, conv3, (3, 3), size),
        sheet.convolution(f"1x1, {reduce5} before the 5x5", in_channels, reduce5, (1, 1), size),
        sheet.convolution(f"5x5, {conv5}", reduce5, conv5, (5, 5), size),
        sheet.convolution(f"1x1, {pool_projection} behind the pooling", in_channels, pool_projection, (1, 1), size),
    ]
    lean_sum = sheet.total("module with reductions", [cost.multiplications for cost in lean], "multiplications")
    depth = sheet.total("depth", [conv1, conv3, conv5, pool_projection], "channels")
    times = sheet.ratio("saving", naive_sum, lean_sum)
    weights = sheet.total("weights", [cost.parameters for cost in lean], "weights without biases")
    return sheet.finish(
        f"With reductions the module costs {lean_sum:,} multiplications instead of {naive_sum:,}, "
        f"{decimal(float(times))} times fewer, and hands on {depth:,} channels instead of {naive_depth:,}.",
        naive=naive_sum, reduced=lean_sum, times_fewer=times, naive_output=shape(*size, naive_depth),
        output=shape(*size, depth), naive_weights=total(naive).parameters, weights=weights,
    )  # fmt: skip


def _inverted_residual(
    *,
    size: Sides = (64, 64),
    in_channels: int = 16,
    expanded: int = 32,
    filters: int = 16,
    kernel_size: Sides = (3, 3),
    stride: int = 1,
) -> Worksheet:
    sheet = Worksheet()
    output = sheet.output("output", size, kernel_size, stride, "same")
    costs = [
        sheet.convolution("1x1 expansion", in_channels, expanded, (1, 1), size),
        sheet.convolution("depthwise", expanded, expanded, kernel_size, output, groups=expanded),
        sheet.convolution("1x1 projection", expanded, filters, (1, 1), output),
    ]
    multiplications = sheet.total("block", [cost.multiplications for cost in costs], "multiplications")
    weights = sheet.total("block", [cost.parameters for cost in costs], "weights without biases")
    shortcut = "yes" if output == size and filters == in_channels else "no"
    return sheet.finish(
        f"{shape(*size, in_channels)} -> expansion {shape(*size, expanded)} -> depthwise {shape(*output, expanded)} -> "
        f"projection {shape(*output, filters)}; {'with' if shortcut == 'yes' else 'without'} a shortcut.",
        block_input=shape(*size, in_channels), depthwise_input=shape(*size, expanded),
        depthwise_output=shape(*output, expanded), block_output=shape(*output, filters), shortcut=shortcut,
        multiplications=multiplications, weights=weights,
    )  # fmt: skip


def _stack(*, depth: int = 3, window: int = 3, channels: int = 256) -> Worksheet:
    sheet = Worksheet()
    field, _ = receptive_field([(window, 1)] * depth)
    sheet.step("receptive field of the stack", f"1 + {depth} x ({window} - 1)", field, "pixels")
    small = depth * conv2d(channels, channels, window, 1, bias=False).parameters
    large = conv2d(channels, channels, field, 1, bias=False).parameters
    sheet.step("stack", f"{depth} x ({factors(window, window, channels, channels)})", small, "weights without biases")
    sheet.step(f"one {field}x{field}", factors(field, field, channels, channels), large, "weights without biases")
    sheet.step("stack, in channels squared", f"{depth} x {window}^2", Fraction(small, channels**2))
    sheet.step(f"one {field}x{field}, in channels squared", f"{field}^2", Fraction(large, channels**2))
    ratio = sheet.ratio("ratio", small, large)
    sheet.step("saving", f"1 - {small:,} / {large:,}", 1 - ratio)
    return sheet.finish(
        f"{depth} layers of {window}x{window} see {field}x{field} pixels as one {field}x{field} layer does, with "
        f"{show(float(100 * ratio))} % of its weights, and apply {depth} activations instead of one.",
        receptive_field=field, stack=small, single=large, stack_factor=depth * window**2, single_factor=field**2,
        ratio=ratio, saving=1 - ratio,
    )  # fmt: skip


def _fc_as_conv(
    *, size: Sides = (7, 7), in_channels: int = 512, units: int = 4096, map_size: Sides = (14, 14)
) -> Worksheet:
    sheet = Worksheet()
    dense = linear(prod(size) * in_channels, units)
    same = conv2d(in_channels, units, size, 1)
    sheet.step("fully connected", f"({factors(*size, in_channels)}) x {units:,} + {units:,}", dense.parameters,
              "parameters")  # fmt: skip
    sheet.step(f"convolution {shape(*size)}, {units:,} filters", f"({factors(*size, in_channels)}) x {units:,} + "
              f"{units:,}", same.parameters, "parameters")  # fmt: skip
    one = sheet.convolution(f"on {shape(*size)}, output 1x1", in_channels, units, size, (1, 1))
    output = sheet.output(f"on {shape(*map_size)}", map_size, size, 1)
    wide = sheet.convolution(f"on {shape(*map_size)}", in_channels, units, size, output)
    return sheet.finish(
        f"The layer is a convolution whose window is the whole {shape(*size)} map. On {shape(*map_size)} the same "
        f"weights give {shape(*output, units)}: one answer for each of {prod(output)} places, in one pass.",
        fully_connected=dense.parameters, convolution=same.parameters, multiplications=one.multiplications,
        map_output=shape(*output, units), map_multiplications=wide.multiplications,
    )  # fmt: skip


def _fc_vs_conv(
    *,
    size: Sides = (32, 32),
    in_channels: int = 1,
    filters: int = 6,
    kernel_size: Sides = (5, 5),
    stride: int = 1,
    padding: Padding = 0,
) -> Worksheet:
    sheet = Worksheet()
    output = sheet.output("output", size, kernel_size, stride, padding)
    before = int(sheet.step("input", factors(*size, in_channels), prod(size) * in_channels, "values"))
    after = int(sheet.step("output", factors(*output, filters), prod(output) * filters, "values"))
    conv = conv2d(in_channels, filters, kernel_size, output)
    dense = linear(before, after)
    sheet.step("convolution", f"({factors(*kernel_size, in_channels)}) x {filters:,} + {filters:,}", conv.parameters,
              "parameters")  # fmt: skip
    sheet.step("fully connected", f"{before:,} x {after:,} + {after:,}", dense.parameters, "parameters")
    times = sheet.ratio("ratio of parameters", dense.parameters, conv.parameters)
    sheet.step("convolution", f"{after:,} x ({factors(*kernel_size, in_channels)})", conv.multiplications,
              "multiplications")  # fmt: skip
    sheet.step("fully connected", f"{after:,} x {before:,}", dense.multiplications, "multiplications")
    return sheet.finish(
        f"From {shape(*size, in_channels)} to {shape(*output, filters)}: {conv.parameters:,} parameters shared by "
        f"every place, against {dense.parameters:,} for a weight between every two values.",
        output=shape(*output, filters), convolution=conv.parameters, fully_connected=dense.parameters,
        times_fewer=times, convolution_multiplications=conv.multiplications,
        fully_connected_multiplications=dense.multiplications,
    )  # fmt: skip


def _receptive_field(*, windows: Windows = THREE_3X3) -> Worksheet:
    sheet, size, jump = Worksheet(), 1, 1
    for number, (kernel, stride) in enumerate(windows, 1):
        after, next_jump = receptive_field(windows[:number])
        sheet.step(f"layer {number}: sees", f"{size} + ({kernel} - 1) x {jump}", after, "pixels")
        if stride > 1:
            sheet.step(f"layer {number}: outputs lie apart", f"{jump} x {stride}", next_jump, "pixels")
        size, jump = after, next_jump
        sheet.layers.append(
            {"layer": f"{number}", "kernel_size": kernel, "stride": stride, "receptive_field": size, "jump": jump}
        )
    return sheet.finish(
        f"An output sees {size}x{size} pixels; neighbours lie {jump} apart.", receptive_field=size, jump=jump
    )


def _chain(*, input: Shape = (227, 227, 3), layers: Chain = ALEXNET) -> Worksheet:
    if len(input) != 3:
        raise ModelError(f"input is {shape(*input)}, expected HEIGHTxWIDTHxCHANNELS such as 224x224x3")
    sheet, costs, windows, counts = Worksheet(), [], [], Counter()
    height, width, channels = input
    for layer in layers:
        counts[layer.kind] += 1
        name = f"{layer.kind}{counts[layer.kind]}"
        kernel = layer.kernel_size or (height, width)  # a fully connected layer's window is the whole map
        try:
            height, width = sheet.output(name, (height, width), kernel, layer.stride, layer.padding, 1, layer.ceil_mode)
        except ModelError as error:
            raise ModelError(f"{name}, {layer.name}: {error}") from None
        windows.append((max(kernel), layer.stride))
        if layer.kind in ("conv", "dw", "fc"):
            filters, groups = layer.filters or channels, layer.groups or channels
            cost = conv2d(channels, filters, kernel, (height, width), groups=groups)
            products = factors(*kernel, channels // groups)
            sheet.step(f"{name}: parameters", f"({products}) x {filters:,} + {filters:,}", cost.parameters)
            sheet.step(f"{name}: multiplications", f"{factors(height, width, filters)} x ({products})", cost[1])
            channels = filters
        else:
            cost = Cost(0, 0, 0)
        costs.append(cost)
        sheet.layers.append(
            {"layer": name, "as": layer.name, "output": shape(height, width, channels), **cost._asdict(),
             "receptive_field": receptive_field(windows)[0]}
        )  # fmt: skip
    weighty = [cost for cost in costs if cost.parameters]
    for what in ("parameters", "multiplications"):
        sheet.total(f"all {what}", [getattr(cost, what) for cost in weighty] or [0], "")
    everything = total(costs)
    return sheet.finish(
        f"{shape(*input)} becomes {shape(height, width, channels)} through {len(weighty)} weight layers with "
        f"{everything.parameters:,} parameters and {everything.multiplications:,} multiplications.",
        output=shape(height, width, channels), weight_layers=len(weighty), **everything._asdict(),
    )  # fmt: skip


def _depth(*, blocks: Counts = RESNET50, layers_per_block: int = 3, other_layers: int = 2) -> Worksheet:
    sheet, inside = Worksheet(), " + ".join(map(str, blocks))
    count = sheet.step("blocks", inside, sum(blocks))
    layers = sheet.step("weight layers", f"{layers_per_block} x ({inside}) + {other_layers}",
                       layers_per_block * sum(blocks) + other_layers)  # fmt: skip
    return sheet.finish(f"The network is {layers} weight layers deep.", blocks=count, weight_layers=layers)


def _connections(*, depth: int = 12, layers_per_block: int = 2) -> Worksheet:
    sheet = Worksheet()
    residual = sheet.step("residual: one shortcut a block", f"floor({depth} / {layers_per_block})",
                         depth // layers_per_block, "shortcuts")  # fmt: skip
    dense = sheet.step("dense: every layer feeds all later ones", f"{depth} x ({depth} + 1) / 2",
                      depth * (depth + 1) // 2, "connections")  # fmt: skip
    return sheet.finish(
        f"{depth} layers have {residual} shortcuts in a residual network, which grows with the depth, and {dense} "
        "connections in a densely connected one, which grows with its square.",
        residual=residual, dense=dense,
    )  # fmt: skip


def _crops(*, scales: int = 1, squares: int = 1, crops: int = 5, no_mirror: bool = False) -> Worksheet:
    sheet, mirrored = Worksheet(), 1 if no_mirror else 2
    count = sheet.step("scales x squares x crops x mirror images", factors(scales, squares, crops, mirrored),
                      scales * squares * crops * mirrored, "crops")  # fmt: skip
    return sheet.finish(
        f"A picture is classified {count} times and the answers are averaged: {count} times the multiplications.",
        crops=count,
    )


def _compound(
    *, alpha: float = 1.2, beta: float = 1.1, gamma: float = 1.15, phi: float = 1.0, resolution: int = 224
) -> Worksheet:
    sheet = Worksheet()
    a, b, c = (Fraction(str(base)) for base in (alpha, beta, gamma))  # exact: 1.1 is 11/10
    step = float(a * b**2 * c**2)
    depth, width, side = (float(base) ** phi for base in (a, b, c))
    sheet.step("cost of one step", f"{alpha} x {beta}^2 x {gamma}^2", step, "times")
    sheet.step("depth", f"{alpha}^{phi:g}", depth, "times")
    sheet.step("width", f"{beta}^{phi:g}", width, "times")
    sheet.step("resolution", f"{gamma}^{phi:g}", side, "times")
    sheet.step("input side", f"{resolution} x {gamma}^{phi:g}", resolution * side, "pixels")
    sheet.step("multiplications", f"({alpha} x {beta}^2 x {gamma}^2)^{phi:g}", step**phi, "times")
    return sheet.finish(
        f"At phi {phi:g} the network is {depth:.4g} times as deep, {width:.4g} times as wide, sees "
        f"{resolution * side:.4g} pixels a side and costs about {step**phi:.4g} times as much.",
        step_factor=step, depth=depth, width=width, resolution_factor=side, resolution=resolution * side,
        cost_factor=step**phi,
    )  # fmt: skip


class Computation(NamedTuple):
    function: Callable[..., Worksheet]
    title: str
    formula: str

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The function's parameters; those in a record, such as `Convolution`, stand for themselves."""
        found: dict[str, inspect.Parameter] = {}
        for parameter in inspect.signature(self.function).parameters.values():
            fields = inspect.signature(parameter.annotation).parameters if _is_record(parameter) else {}
            found |= fields or {parameter.name: parameter}
        return found

    def run(self, values: Mapping[str, Any]) -> Worksheet:
        """Calls the function, with values of record fields put into their records."""
        values, records = dict(values), {}
        for parameter in inspect.signature(self.function).parameters.values():
            if _is_record(parameter):
                record = parameter.default
                fields = {name: values.pop(name) for name in record._fields if name in values}
                records[parameter.name] = record._replace(**fields)
        return self.function(**values, **records)


def _is_record(parameter: inspect.Parameter) -> bool:
    return hasattr(parameter.annotation, "_fields")


COMPUTATIONS = {
    "output-size": Computation(
        _output_size,
        "The side of what a convolution or pooling gives",
        "floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1",
    ),
    "conv": Computation(
        _conv,
        "One convolution: output, parameters, multiplications, additions",
        "multiplications = output values x window area x input channels / groups",
    ),
    "linear": Computation(
        _linear,
        "One fully connected layer",
        "parameters = inputs x outputs + outputs; multiplications = inputs x outputs",
    ),
    "pool": Computation(_pool, "One pooling layer", "output sides as of a convolution; the channels stay"),
    "chain": Computation(
        _chain,
        "A chain of layers: sizes, parameters and multiplications of each",
        "the output of a layer is the input of the next",
    ),
    "receptive-field": Computation(
        _receptive_field,
        "How many input pixels an output sees",
        "size grows by (window - 1) x jump, jump by the stride",
    ),
    "stack": Computation(
        _stack,
        "Small filters on top of each other against one large filter",
        "n k^2 C^2 against (n (k - 1) + 1)^2 C^2 weights",
    ),
    "fc-as-conv": Computation(
        _fc_as_conv,
        "A fully connected layer as a convolution",
        "fully connected on HxWxC = convolution with an HxW window; behind it, 1x1",
    ),
    "fc-vs-conv": Computation(
        _fc_vs_conv,
        "A convolution against a fully connected layer between the same values",
        "k^2 c n + n against (H W c)(H' W' n) + H' W' n parameters",
    ),
    "bottleneck": Computation(
        _bottleneck,
        "A convolution directly and through a 1x1 bottleneck",
        "H W n (k^2 c) against H W r (c) + H W n (k^2 r) multiplications",
    ),
    "resnet-bottleneck": Computation(
        _resnet_bottleneck,
        "ResNet's two blocks on the same channels: two kxk, or 1x1, kxk, 1x1",
        "2 k^2 C^2 against 2 C w + k^2 w^2 weights",
    ),
    "inception": Computation(
        _inception,
        "An inception module, naive and with 1x1 reductions",
        "the outputs of all branches are concatenated along the channels",
    ),
    "separable": Computation(
        _separable,
        "A depthwise-separable convolution against a normal one",
        "separable / normal = m / n + m / k^2 for n filters, k^2 window, multiplier m",
    ),
    "inverted-residual": Computation(
        _inverted_residual,
        "A block of MobileNet v2: expansion, depthwise, projection",
        "c -> expanded -> expanded -> n channels; shortcut where input and output have one shape",
    ),
    "depth": Computation(_depth, "How many weight layers a network has", "layers of a block x blocks + other layers"),
    "connections": Computation(
        _connections, "Connections of a residual and of a densely connected network", "L / k against L (L + 1) / 2"
    ),
    "crops": Computation(
        _crops, "How many crops of a picture are averaged", "scales x squares x crops x (2 with mirror images)"
    ),
    "compound": Computation(
        _compound,
        "EfficientNet's compound scaling",
        "depth alpha^phi, width beta^phi, resolution gamma^phi; cost (alpha beta^2 gamma^2)^phi",
    ),
}


def explain(name: str, **given: Any) -> WorkedComputation:
    """Works out a computation with any of its parameters, as numbers or as the command line's text ("28x28").

    Raises:
        ModelError: for an unknown name or parameter, a value out of range, or sizes that do not fit together.
    """
    if name not in COMPUTATIONS:
        suggestion = did_you_mean(name, COMPUTATIONS) or ";"
        raise ModelError(f"unknown computation '{name}'{suggestion} there are {', '.join(COMPUTATIONS)}")
    computation = COMPUTATIONS[name]
    known = computation.parameters
    for parameter in given:
        if parameter not in known:
            suggestion = did_you_mean(parameter, known) or ";"
            raise ModelError(f"{name} has no parameter '{parameter}'{suggestion} it takes {', '.join(known)}")
    values = {p: read(p, known[p].annotation, value) for p, value in given.items()}
    sheet = computation.run(values)
    inputs = {p: written(values.get(p, known[p].default)) for p in known}
    return WorkedComputation(
        name, computation.title, computation.formula, inputs, tuple(sheet.steps), tuple(sheet.layers), sheet.results,
        sheet.conclusion,
    )  # fmt: skip
