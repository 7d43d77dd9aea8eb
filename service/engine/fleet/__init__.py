"""Models that run elsewhere, in a fleet of TensorFlow Serving. Imports `ipc`, `saved_model` and `tensorflow`."""
