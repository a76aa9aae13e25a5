"""Golden figures: what each network must count, from builds that are not ours.

Trainable weights, multiply-adds of convolutions and linear layers for one picture at the given side, and the last
feature map (channels, height, width) that the stages hand to the head. `source` says whose build was counted:
torchvision 0.28, timm, Keras or pytorchcv, or, where no library has the network, a reference build made from the
paper's text alone.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import pytest


class Golden(NamedTuple):
    parameters: int
    multiply_adds: int
    input_size: int
    feature_map: tuple[int, int, int]
    source: str


GOLDEN = {
    "lenet5": Golden(61_706, 416_520, 32, (120, 1, 1), "reference build 32x32"),
    "lenet5_1998": Golden(
        60_000,
        325_680,
        32,
        (120, 1, 1),
        "reference build here (C3 partial connection table, trainable sub-sampling, fixed RBF output)",
    ),
    "alexnet": Golden(60_965_224, 724_406_816, 227, (256, 6, 6), "reference build 227, groups=2"),
    "alexnet_ungrouped": Golden(62_378_344, 1_135_256_096, 227, (256, 6, 6), "reference build 227"),
    "alexnet_owt": Golden(61_100_840, 714_188_480, 224, (256, 6, 6), "torchvision alexnet"),
    "zfnet": Golden(62_357_608, 1_168_032_896, 224, (256, 6, 6), "reference build (pad 1 conv1, ceil pooling)"),
    "zfnet_b": Golden(107_627_624, 2_476_704_896, 224, (512, 6, 6), "reference build"),
    "zfnet_wide": Golden(386_548_840, 10_147_396_384, 227, (512, 13, 13), "reference build"),
    "nin_cifar": Golden(966_986, 222_486_528, 32, (192, 8, 8), "reference build"),
    "nin_imagenet": Golden(
        # A reference build whose pooling drops the last column, as Caffe's does not, has 969,460,864 at 224.
        7_595_176,
        1_100_188_800,
        224,
        (1024, 6, 6),
        "closed form in test_nin.py, which gives the reference build's 1,105,996,320 at 227, where nothing is dropped",
    ),
    "vgg11": Golden(132_863_336, 7_609_090_048, 224, (512, 7, 7), "torchvision vgg11"),
    "vgg11_bn": Golden(132_868_840, 7_609_090_048, 224, (512, 7, 7), "torchvision vgg11_bn"),
    "vgg13": Golden(133_047_848, 11_308_466_176, 224, (512, 7, 7), "torchvision vgg13"),
    "vgg13_bn": Golden(133_053_736, 11_308_466_176, 224, (512, 7, 7), "torchvision vgg13_bn"),
    "vgg16": Golden(138_357_544, 15_470_264_320, 224, (512, 7, 7), "torchvision vgg16"),
    "vgg16_bn": Golden(138_365_992, 15_470_264_320, 224, (512, 7, 7), "torchvision vgg16_bn"),
    "vgg19": Golden(143_667_240, 19_632_062_464, 224, (512, 7, 7), "torchvision vgg19"),
    "vgg19_bn": Golden(143_678_248, 19_632_062_464, 224, (512, 7, 7), "torchvision vgg19_bn"),
    "vgg15_lecture": Golden(137_767_464, 13_620_576_256, 224, (512, 7, 7), "reference build"),
    "googlenet": Golden(6_998_552, 1_582_671_872, 224, (1024, 7, 7), "reference build without aux heads"),
    "googlenet_bn": Golden(6_624_904, 1_498_376_192, 224, (1024, 7, 7), "torchvision googlenet"),
    "inception_v2": Golden(11_295_240, 2_032_600_064, 224, (1024, 7, 7), "pytorchcv bninception"),
    "inception_v3": Golden(23_834_568, 5_713_216_096, 299, (2048, 8, 8), "torchvision inception_v3"),
    "inception_v4": Golden(42_679_816, 12_253_974_624, 299, (1536, 8, 8), "timm inception_v4"),
    "inception_resnet_v2": Golden(55_843_464, 13_155_794_016, 299, (1536, 8, 8), "timm inception_resnet_v2"),
    "resnet18": Golden(11_689_512, 1_814_073_344, 224, (512, 7, 7), "torchvision resnet18"),
    "resnet34": Golden(21_797_672, 3_663_761_408, 224, (512, 7, 7), "torchvision resnet34"),
    "resnet50": Golden(25_557_032, 4_089_184_256, 224, (2048, 7, 7), "torchvision resnet50"),
    "resnet101": Golden(44_549_160, 7_801_405_440, 224, (2048, 7, 7), "torchvision resnet101"),
    "resnet152": Golden(60_192_808, 11_513_626_624, 224, (2048, 7, 7), "torchvision resnet152"),
    "resnet50_v1": Golden(25_557_032, 3_857_973_248, 224, (2048, 7, 7), "pytorchcv resnet50"),
    "resnet101_v1": Golden(44_549_160, 7_570_194_432, 224, (2048, 7, 7), "pytorchcv resnet101"),
    "resnet152_v1": Golden(60_192_808, 11_282_415_616, 224, (2048, 7, 7), "pytorchcv resnet152"),
    "plain18": Golden(11_515_688, 1_794_805_760, 224, (512, 7, 7), "reference build (BN, no shortcuts)"),
    "plain34": Golden(21_623_848, 3_644_493_824, 224, (512, 7, 7), "reference build (BN, no shortcuts)"),
    "resnet20": Golden(269_722, 40_551_040, 32, (64, 8, 8), "reference build option A (paper)"),
    "resnet32": Golden(464_154, 68_862_592, 32, (64, 8, 8), "reference build option A (paper)"),
    "resnet44": Golden(658_586, 97_174_144, 32, (64, 8, 8), "reference build option A (paper)"),
    "resnet56": Golden(853_018, 125_485_696, 32, (64, 8, 8), "reference build option A (paper)"),
    "resnet110": Golden(1_727_962, 252_887_680, 32, (64, 8, 8), "reference build option A (paper)"),
    "resnet1202": Golden(19_421_274, 2_829_238_912, 32, (64, 8, 8), "reference build option A"),
    "plain20": Golden(269_722, 40_551_040, 32, (64, 8, 8), "reference build"),
    "plain32": Golden(464_154, 68_862_592, 32, (64, 8, 8), "reference build"),
    "plain44": Golden(658_586, 97_174_144, 32, (64, 8, 8), "reference build"),
    "plain56": Golden(853_018, 125_485_696, 32, (64, 8, 8), "reference build"),
    "plain110": Golden(1_727_962, 252_887_680, 32, (64, 8, 8), "reference build"),
    "resnet18_v2": Golden(11_687_720, 1_814_073_344, 224, (512, 7, 7), "timm resnetv2_18"),
    "resnet34_v2": Golden(21_795_880, 3_663_761_408, 224, (512, 7, 7), "timm resnetv2_34"),
    "resnet50_v2": Golden(25_549_352, 4_089_184_256, 224, (2048, 7, 7), "timm resnetv2_50"),
    "resnet101_v2": Golden(44_541_480, 7_801_405_440, 224, (2048, 7, 7), "timm resnetv2_101"),
    "resnet152_v2": Golden(60_185_128, 11_513_626_624, 224, (2048, 7, 7), "timm resnetv2_152"),
    "resnet50_v2_keras": Golden(25_568_360, 3_482_255_360, 224, (2048, 7, 7), "keras ResNet50V2"),
    "resnet101_v2_keras": Golden(44_577_896, 7_194_476_544, 224, (2048, 7, 7), "keras ResNet101V2"),
    "resnet152_v2_keras": Golden(60_236_904, 10_906_697_728, 224, (2048, 7, 7), "keras ResNet152V2"),
    "wide_resnet50_2": Golden(68_883_240, 11_398_021_120, 224, (2048, 7, 7), "torchvision wide_resnet50_2"),
    "wrn28_10": Golden(36_479_194, 5_243_328_768, 32, (640, 8, 8), "reference build CIFAR-10"),
    "resnext50_32x4d": Golden(25_028_904, 4_230_479_872, 224, (2048, 7, 7), "torchvision resnext50_32x4d"),
    "resnext101_32x4d": Golden(44_177_704, 7_969_996_800, 224, (2048, 7, 7), "timm resnext101_32x4d"),
    "resnext101_32x8d": Golden(88_791_336, 16_414_015_488, 224, (2048, 7, 7), "torchvision resnext101_32x8d"),
    "resnext101_64x4d": Golden(83_455_272, 15_460_270_080, 224, (2048, 7, 7), "torchvision resnext101_64x4d"),
    "seresnet50": Golden(28_088_024, 4_091_699_200, 224, (2048, 7, 7), "timm seresnet50"),
    "senet154": Golden(115_088_984, 20_688_363_520, 224, (2048, 7, 7), "timm legacy_senet154"),
    "densenet121": Golden(7_978_856, 2_834_161_664, 224, (1024, 7, 7), "torchvision densenet121"),
    "densenet169": Golden(14_149_480, 3_359_843_328, 224, (1664, 7, 7), "torchvision densenet169"),
    "densenet201": Golden(20_013_928, 4_291_365_888, 224, (1920, 7, 7), "torchvision densenet201"),
    "densenet161": Golden(28_681_000, 7_727_907_072, 224, (2208, 7, 7), "torchvision densenet161"),
    "densenet264": Golden(33_337_704, 5_751_653_376, 224, (2688, 7, 7), "torchvision DenseNet class, blocks"),
    "densenet_bc_100_12": Golden(769_162, 287_929_692, 32, (342, 8, 8), "reference build CIFAR-10"),
    "fractalnet20": Golden(
        33_734_922,
        845_222_912,
        32,
        (512, 1, 1),
        "reference build transcribed from the authors' generator, CIFAR-10 (conv bias + BN)",
    ),
    "fractalnet40": Golden(
        76_128_714, 2_036_077_568, 32, (512, 1, 1), "reference build channels 64-128-256-512-512, CIFAR-10"
    ),
    "nasnet_mobile": Golden(5_289_978, 563_638_816, 224, (1056, 7, 7), "keras NASNetMobile"),
    "nasnet_large": Golden(88_753_150, 23_783_414_658, 331, (4032, 11, 11), "timm nasnetalarge"),
    "mobilenet_v1": Golden(4_231_976, 568_740_352, 224, (1024, 7, 7), "keras MobileNet alpha=1.0"),
    "mobilenet_v1_075": Golden(2_585_560, 325_400_448, 224, (768, 7, 7), "keras MobileNet alpha=0.75"),
    "mobilenet_v1_050": Golden(1_331_592, 149_497_088, 224, (512, 7, 7), "keras MobileNet alpha=0.5"),
    "mobilenet_v1_025": Golden(470_072, 41_030_272, 224, (256, 7, 7), "keras MobileNet alpha=0.25"),
    "mobilenet_v2": Golden(3_504_872, 300_774_272, 224, (1280, 7, 7), "torchvision mobilenet_v2 width_mult=1.0"),
    "mobilenet_v2_035": Golden(1_677_128, 59_285_808, 224, (1280, 7, 7), "torchvision mobilenet_v2 width_mult=0.35"),
    "mobilenet_v2_050": Golden(1_968_680, 97_131_840, 224, (1280, 7, 7), "torchvision mobilenet_v2 width_mult=0.5"),
    "mobilenet_v2_075": Golden(2_636_424, 209_069_792, 224, (1280, 7, 7), "torchvision mobilenet_v2 width_mult=0.75"),
    "mobilenet_v2_130": Golden(5_386_792, 509_374_560, 224, (1664, 7, 7), "torchvision mobilenet_v2 width_mult=1.3"),
    "mobilenet_v2_140": Golden(6_108_776, 582_195_824, 224, (1792, 7, 7), "torchvision mobilenet_v2 width_mult=1.4"),
    "mobilenet_v3_small": Golden(2_542_856, 56_510_400, 224, (576, 7, 7), "torchvision"),
    "mobilenet_v3_large": Golden(5_483_032, 216_589_760, 224, (960, 7, 7), "torchvision"),
    "efficientnet_b0": Golden(5_288_548, 385_814_752, 224, (1280, 7, 7), "torchvision efficientnet_b0 @224"),
    "efficientnet_b1": Golden(7_794_184, 686_802_832, 240, (1280, 8, 8), "torchvision efficientnet_b1 @240"),
    "efficientnet_b2": Golden(9_109_994, 993_561_872, 260, (1408, 9, 9), "torchvision efficientnet_b2 @260"),
    "efficientnet_b3": Golden(12_233_232, 1_827_141_392, 300, (1536, 10, 10), "torchvision efficientnet_b3 @300"),
    "efficientnet_b4": Golden(19_341_616, 4_393_771_024, 380, (1792, 12, 12), "torchvision efficientnet_b4 @380"),
    "efficientnet_b5": Golden(30_389_784, 10_266_384_752, 456, (2048, 15, 15), "torchvision efficientnet_b5 @456"),
    "efficientnet_b6": Golden(43_040_704, 19_067_593_536, 528, (2304, 17, 17), "torchvision efficientnet_b6 @528"),
    "efficientnet_b7": Golden(66_347_960, 37_745_884_192, 600, (2560, 19, 19), "torchvision efficientnet_b7 @600"),
    "squeezenet1_0": Golden(1_248_424, 818_924_576, 224, (512, 13, 13), "torchvision squeezenet1_0"),
    "squeezenet1_1": Golden(1_235_496, 349_151_936, 224, (512, 13, 13), "torchvision squeezenet1_1"),
    "xception": Golden(22_855_952, 8_357_403_496, 299, (2048, 10, 10), "keras Xception"),
    "googlenet_naive": Golden(
        97_526_008, 12_568_061_056, 224, (4944, 7, 7), "closed form from Table 1, in test_googlenet.py"
    ),
    "wide_resnet101_2": Golden(126_886_696, 22_753_050_624, 224, (2048, 7, 7), "torchvision wide_resnet101_2"),
    "fractalnet20_column": Golden(
        20_410_314, 549_131_264, 32, (512, 1, 1), "closed form in test_fractalnet.py, which fits fractalnet20 too"
    ),
    "fractalnet40_column": Golden(
        42_398_922, 1_190_859_776, 32, (512, 1, 1), "closed form in test_fractalnet.py, which fits fractalnet20 too"
    ),
}

# Of each kind of block one network that is not small, for tests that take seconds with it.
MEDIUM = (
    *(
        "alexnet_owt",
        "zfnet",
        "vgg11_bn",
        "googlenet",
        "inception_v2",
        "resnet50_v1",
        "resnet50_v2",
        "resnet50_v2_keras",
    ),
    *("resnext50_32x4d", "seresnet50", "densenet169", "fractalnet20", "efficientnet_b3", "xception"),
)


# One small network per kind of block stands for the others where a check of each would take minutes.
KINDS = (
    *("lenet5", "lenet5_1998", "resnet18", "resnet50", "resnet20", "plain20", "mobilenet_v2_035", "nin_cifar"),
    *("squeezenet1_1", "googlenet", "inception_v2", "resnet18_v2", "seresnet50", "densenet_bc_100_12"),
    *("fractalnet20_column", "nasnet_mobile", "mobilenet_v1_025", "mobilenet_v3_small", "efficientnet_b0"),
)
SMALL = [
    name
    for name, golden in GOLDEN.items()
    if golden.parameters <= 12e6 and golden.multiply_adds * 33**2 / golden.input_size**2 < 150e6
]


def catalogue(quick: Collection[str], slow: Collection[str] = ()) -> list[Any]:
    """All names as parameters: those in `quick` always run, those in `slow` with -m slow, the others with -m full."""
    unknown = {*quick, *slow} - set(GOLDEN)
    assert not unknown, unknown
    marks = {name: pytest.mark.slow if name in slow else pytest.mark.full for name in GOLDEN if name not in quick}
    return [pytest.param(name, marks=marks.get(name, ())) for name in GOLDEN]
