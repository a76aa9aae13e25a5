"""The addresses of torchvision's ImageNet weights, for every network that both have.

Read from the metadata of torchvision 0.28: the file, whose name ends in the first eight digits of its SHA-256; how
pictures are resized and cropped; top-1 and top-5 in % on the 50,000 pictures of the ImageNet validation set, one crop.
"""

from ..card import PublishedWeights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Weights that came from TensorFlow: torchvision's networks turn their input into x / 127.5 - 1 themselves.
FROM_TENSORFLOW = ("googlenet_bn", "inception_v3")

# our name, version, file, shorter side after resizing, side of the crop, interpolation, top-1, top-5
FILES = (
    ("alexnet_owt", 1, "alexnet-owt-7be5be79.pth", 256, 224, "bilinear", 56.522, 79.066),
    ("densenet121", 1, "densenet121-a639ec97.pth", 256, 224, "bilinear", 74.434, 91.972),
    ("densenet161", 1, "densenet161-8d451a50.pth", 256, 224, "bilinear", 77.138, 93.56),
    ("densenet169", 1, "densenet169-b2777c0a.pth", 256, 224, "bilinear", 75.6, 92.806),
    ("densenet201", 1, "densenet201-c1103571.pth", 256, 224, "bilinear", 76.896, 93.37),
    ("efficientnet_b0", 1, "efficientnet_b0_rwightman-7f5810bc.pth", 256, 224, "bicubic", 77.692, 93.532),
    ("efficientnet_b1", 1, "efficientnet_b1_rwightman-bac287d4.pth", 256, 240, "bicubic", 78.642, 94.186),
    ("efficientnet_b1", 2, "efficientnet_b1-c27df63c.pth", 255, 240, "bilinear", 79.838, 94.934),
    ("efficientnet_b2", 1, "efficientnet_b2_rwightman-c35c1473.pth", 288, 288, "bicubic", 80.608, 95.31),
    ("efficientnet_b3", 1, "efficientnet_b3_rwightman-b3899882.pth", 320, 300, "bicubic", 82.008, 96.054),
    ("efficientnet_b4", 1, "efficientnet_b4_rwightman-23ab8bcd.pth", 384, 380, "bicubic", 83.384, 96.594),
    ("efficientnet_b5", 1, "efficientnet_b5_lukemelas-1a07897c.pth", 456, 456, "bicubic", 83.444, 96.628),
    ("efficientnet_b6", 1, "efficientnet_b6_lukemelas-24a108a5.pth", 528, 528, "bicubic", 84.008, 96.916),
    ("efficientnet_b7", 1, "efficientnet_b7_lukemelas-c5b4e57e.pth", 600, 600, "bicubic", 84.122, 96.908),
    ("googlenet_bn", 1, "googlenet-1378be20.pth", 256, 224, "bilinear", 69.778, 89.53),
    ("inception_v3", 1, "inception_v3_google-0cc3c7bd.pth", 342, 299, "bilinear", 77.294, 93.45),
    ("mobilenet_v2", 1, "mobilenet_v2-b0353104.pth", 256, 224, "bilinear", 71.878, 90.286),
    ("mobilenet_v2", 2, "mobilenet_v2-7ebf99e0.pth", 232, 224, "bilinear", 72.154, 90.822),
    ("mobilenet_v3_large", 1, "mobilenet_v3_large-8738ca79.pth", 256, 224, "bilinear", 74.042, 91.34),
    ("mobilenet_v3_large", 2, "mobilenet_v3_large-5c1a4163.pth", 232, 224, "bilinear", 75.274, 92.566),
    ("mobilenet_v3_small", 1, "mobilenet_v3_small-047dcff4.pth", 256, 224, "bilinear", 67.668, 87.402),
    ("resnet101", 1, "resnet101-63fe2227.pth", 256, 224, "bilinear", 77.374, 93.546),
    ("resnet101", 2, "resnet101-cd907fc2.pth", 232, 224, "bilinear", 81.886, 95.78),
    ("resnet152", 1, "resnet152-394f9c45.pth", 256, 224, "bilinear", 78.312, 94.046),
    ("resnet152", 2, "resnet152-f82ba261.pth", 232, 224, "bilinear", 82.284, 96.002),
    ("resnet18", 1, "resnet18-f37072fd.pth", 256, 224, "bilinear", 69.758, 89.078),
    ("resnet34", 1, "resnet34-b627a593.pth", 256, 224, "bilinear", 73.314, 91.42),
    ("resnet50", 1, "resnet50-0676ba61.pth", 256, 224, "bilinear", 76.13, 92.862),
    ("resnet50", 2, "resnet50-11ad3fa6.pth", 232, 224, "bilinear", 80.858, 95.434),
    ("resnext101_32x8d", 1, "resnext101_32x8d-8ba56ff5.pth", 256, 224, "bilinear", 79.312, 94.526),
    ("resnext101_32x8d", 2, "resnext101_32x8d-110c445d.pth", 232, 224, "bilinear", 82.834, 96.228),
    ("resnext101_64x4d", 1, "resnext101_64x4d-173b62eb.pth", 232, 224, "bilinear", 83.246, 96.454),
    ("resnext50_32x4d", 1, "resnext50_32x4d-7cdf4587.pth", 256, 224, "bilinear", 77.618, 93.698),
    ("resnext50_32x4d", 2, "resnext50_32x4d-1a0047aa.pth", 232, 224, "bilinear", 81.198, 95.34),
    ("squeezenet1_0", 1, "squeezenet1_0-b66bff10.pth", 256, 224, "bilinear", 58.092, 80.42),
    ("squeezenet1_1", 1, "squeezenet1_1-b8a52dc0.pth", 256, 224, "bilinear", 58.178, 80.624),
    ("vgg11", 1, "vgg11-8a719046.pth", 256, 224, "bilinear", 69.02, 88.628),
    ("vgg11_bn", 1, "vgg11_bn-6002323d.pth", 256, 224, "bilinear", 70.37, 89.81),
    ("vgg13", 1, "vgg13-19584684.pth", 256, 224, "bilinear", 69.928, 89.246),
    ("vgg13_bn", 1, "vgg13_bn-abd245e5.pth", 256, 224, "bilinear", 71.586, 90.374),
    ("vgg16", 1, "vgg16-397923af.pth", 256, 224, "bilinear", 71.592, 90.382),
    ("vgg16_bn", 1, "vgg16_bn-6c64b313.pth", 256, 224, "bilinear", 73.36, 91.516),
    ("vgg19", 1, "vgg19-dcbb9e9d.pth", 256, 224, "bilinear", 72.376, 90.876),
    ("vgg19_bn", 1, "vgg19_bn-c79401a0.pth", 256, 224, "bilinear", 74.218, 91.842),
    ("wide_resnet101_2", 1, "wide_resnet101_2-32ee1156.pth", 256, 224, "bilinear", 78.848, 94.284),
    ("wide_resnet101_2", 2, "wide_resnet101_2-d733dc28.pth", 232, 224, "bilinear", 82.51, 96.02),
    ("wide_resnet50_2", 1, "wide_resnet50_2-95faca4d.pth", 256, 224, "bilinear", 78.468, 94.086),
    ("wide_resnet50_2", 2, "wide_resnet50_2-9ba9bcbe.pth", 232, 224, "bilinear", 81.602, 95.758),
)


def torchvision_weights(name: str) -> tuple[PublishedWeights, ...]:
    """The weights that torchvision itself publishes for the network `name`, oldest first; none for most."""
    return tuple(
        PublishedWeights(
            name=f"pytorch.org/IMAGENET1K_V{version}",
            repository="torchvision",
            layout="torchvision",
            licence="BSD-3-Clause",
            source="torchvision",
            prepare={"size": side, "crop_fraction": side / resized, "interpolation": interpolation}
            | ({"mean": (0.5,) * 3, "std": (0.5,) * 3} if name in FROM_TENSORFLOW else {"mean": MEAN, "std": STD}),
            file=file,
            address=f"https://download.pytorch.org/models/{file}",
            sha256=file.removesuffix(".pth").rpartition("-")[2],
            top1=round(top1 / 100, 5),
            top5=round(top5 / 100, 5),
        )
        for ours, version, file, resized, side, interpolation, top1, top5 in FILES
        if ours == name
    )
