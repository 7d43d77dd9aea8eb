"""Bytes to arrays and back. Nothing here knows of HTTP, Flask or TensorFlow."""
