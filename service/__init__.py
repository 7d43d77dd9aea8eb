"""The service: SavedModels from the model repository, answered over HTTP and gRPC. It never imports the pipeline."""

VERSION = "0.1.0"
"""Kiln's version (Semantic Versioning); CHANGELOG.md says what it brings."""
