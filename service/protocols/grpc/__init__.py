"""TensorFlow Serving's gRPC API, without Flask or gunicorn. Imports the engine and what REST and gRPC share."""
