"""TensorFlow Serving's gRPC API, without Flask or gunicorn. Imports the engine."""
