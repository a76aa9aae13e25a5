"""Inception v4 and Inception-ResNet v2.

Errors are on the ImageNet validation set, from the result tables. Accuracies of published weights are those of timm's
results file, commit aa4b5850.
"""

from ..card import Departure, Paper
from .inception import CODE, card, timm
from .published import errors

PAPER = Paper(
    title="Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    authors="C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi",
    year=2016,
    venue="AAAI 2017",
    link="https://arxiv.org/abs/1602.07261",
)
DEPARTURES_V4 = (
    Departure("17x17 modules", "1x7 before 7x1 in the longest branch, twice (Figure 5)", "7x1 before 1x7", CODE),
)
DEPARTURES_RESNET = (
    Departure(
        "stem",
        "as in Inception v4, with 384 output channels",
        "as in Inception v3, plus one Inception module, with 320 output channels",
        CODE,
    ),
    Departure("depth", "5, 10 and 5 residual modules", "10, 20 and 10", CODE),
    Departure(
        "channels",
        "1,152 (misprinted as 1,154) on the 17x17 grid, 2,144 (as 2,048) on the 8x8",
        "1,088 and 2,080",
        CODE,
    ),
    Departure("last module", "like the others", "no scaling and no ReLU, then a 1x1 convolution to 1,536", CODE),
)

CARDS = {
    "inception_v4": card(
        "inception_v4",
        PAPER,
        42_679_816,
        12_253_974_624,
        family="inception_v4",
        published=errors("1 crop, without the blacklisted pictures", 20.0, 5.0, "Table 2"),
        departures=DEPARTURES_V4,
        weights=(timm("inception_v4.tf_in1k", "the authors' weights, TF-Slim", 0.80144, 0.94982),),
    ),
    "inception_resnet_v2": card(
        "inception_resnet_v2",
        PAPER,
        55_843_464,
        13_155_794_016,
        family="inception_v4",
        published=(
            *errors("1 crop, without the blacklisted pictures", 19.9, 4.9, "Table 2"),
            *errors("1 crop, trained anew", 20.37, 5.21, "Hu et al., CVPR 2018, Table 2"),
        ),
        departures=DEPARTURES_RESNET,
        weights=(
            timm(
                "inception_resnet_v2.tf_in1k", "the authors' weights, TF-Slim", 0.80434, 0.95312, crop_fraction=0.8975
            ),
            timm(
                "inception_resnet_v2.tf_ens_adv_in1k",
                "TF-Slim, trained against adversaries of several networks",
                0.79998,
                0.94940,
                crop_fraction=0.8975,
            ),
        ),
    ),
}
