"""A bundle -> what its page holds."""

from ...errors import BundleError
from ...runner.answers import bundle_judge
from ...runner.bundle import Bundle
from ...runner.verify import expected_probabilities
from .write import Golden, Site

PAGE_KEYS = ("name", "casebook", "classes", "preprocessing")  # of bundle.json, which the page's scripts read
NOT_IN_BROWSERS = (b"II*\0", b"MM\0*")  # how a TIFF begins


def site_of(bundle: Bundle, network: str = "float32") -> Site:
    """The parts of a page that answers as the bundle does.

    `network` is "float32" or, where the bundle has it, "int8": a quarter of the size, but slower in a browser.
    Golden pictures of kinds that no browser reads are left out.
    """
    if network not in bundle.networks:
        raise BundleError(f"{bundle.path}: has no {network!r} network; it has {', '.join(bundle.networks)}")
    expected = expected_probabilities(bundle, network) if bundle.golden else []
    golden = []
    for picture, probabilities in zip(bundle.golden, expected, strict=True):
        content = bundle.read(picture["file"])
        if not content.startswith(NOT_IN_BROWSERS):
            golden.append(Golden(picture["shows"], content, probabilities.tolist(), picture["pixels_sha256"]))
    manifest = {key: bundle.manifest[key] for key in PAGE_KEYS} | {"thresholds": list(bundle.thresholds)}
    files = {"model.onnx": bundle.read(bundle.networks[network]["file"])}
    judge = bundle_judge(bundle, network)
    kept = None
    if judge is not None and judge.unlike is not None:
        kept = "kept.bin"  # float16, little-endian, row by row
        files[kept] = judge.unlike.kept.astype("<f2").tobytes()
    unsure = None if judge is None else judge.to_dict()
    manifest |= {"files": {"network": "model.onnx", "kept": kept}, "unsure": unsure}
    return Site(manifest, files, golden)
