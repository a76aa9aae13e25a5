"""ResNeXt: a bottleneck whose 3x3 convolution is split into groups.

Source: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017, Table 1 and
Figure 3 (c), https://arxiv.org/abs/1611.05431; its strides are in the 3x3 convolution. "CxDd" is C groups of D
channels each in the first stage. Departure: 32x8d is a later width, of Mahajan et al. 2018,
https://arxiv.org/abs/1805.00932.
"""

from functools import partial

from .residual_parts import ResNet, Variant, bottleneck

VARIANTS = {
    "resnext50_32x4d": Variant(partial(bottleneck, groups=32, group_width=4), 4, (3, 4, 6, 3)),
    "resnext101_32x4d": Variant(partial(bottleneck, groups=32, group_width=4), 4, (3, 4, 23, 3)),
    "resnext101_32x8d": Variant(partial(bottleneck, groups=32, group_width=8), 4, (3, 4, 23, 3)),
    "resnext101_64x4d": Variant(partial(bottleneck, groups=64, group_width=4), 4, (3, 4, 23, 3)),
}

NETWORKS = {name: partial(ResNet, variant) for name, variant in VARIANTS.items()}
