"""TensorFlow Serving's JSON to arrays and back. Imports the engine's signatures."""
