"""A page for browsers in one call: a bundle -> a folder or one HTML file."""

from pathlib import Path

from ..deployment.web import Written, onnxruntime_web, site_of, write_web
from ..progress import Remark, Reporter, reporting
from ..runner.bundle import Bundle


def export_web(
    bundle: str | Path,
    out: str | Path,
    *,
    network: str = "float32",
    runtime: str | Path | None = None,
    progress: bool | Reporter = False,
) -> Written:
    """Writes a page that classifies pictures in a browser, on the device, without a network connection.

    `out` is a folder for a web server, or a file ending in .html that opens as it is. `network` is "float32" or, where
    the bundle has it, "int8": a quarter of the size, but slower in a browser. `runtime` is a folder with the files of
    onnxruntime-web; without it they come from the cache, which npm fills the first time.

    Raises BundleError for a file that is no bundle, DownloadError where the runtime cannot be had, and RunError where
    the page cannot be written.
    """
    opened = Bundle.open(bundle)
    with reporting(progress) as report:
        report(Remark("reading ONNX Runtime Web; the first time, npm fetches its 33 MB"))
        return write_web(site_of(opened, network), out, onnxruntime_web(runtime))
