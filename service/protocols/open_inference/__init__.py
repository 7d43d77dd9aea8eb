"""The Open Inference Protocol over REST. Imports `http`, `codecs` and the engine."""
