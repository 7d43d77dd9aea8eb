"""TensorFlow Serving's REST API. Imports `http`, `codecs` and the engine."""
