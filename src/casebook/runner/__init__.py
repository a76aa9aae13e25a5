"""A bundle and pictures -> answers. Needs NumPy, Pillow and onnxruntime, no torch; it travels inside every bundle."""
