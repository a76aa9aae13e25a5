"""HTTP requests with pictures enter; JSON answers of the bundles that are served leave. Travels inside every bundle."""
