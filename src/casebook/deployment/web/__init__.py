"""A bundle -> a page that classifies pictures in a browser, without a server and without a network."""

from .runtime import Runtime, onnxruntime_web
from .site import site_of
from .write import Golden, Site, Written, write_web

__all__ = ["Golden", "Runtime", "Site", "Written", "onnxruntime_web", "site_of", "write_web"]
