"""Which versions are loaded, when they take over and when they end: TensorFlow Serving's manager and its parts.

Imports `sources`.
"""
