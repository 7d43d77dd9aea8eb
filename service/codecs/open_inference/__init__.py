"""The Open Inference Protocol's JSON and binary tensors to arrays and back. Imports `codecs.json`."""
