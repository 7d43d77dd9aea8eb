"""The service: SavedModels from the model repository, answered over HTTP. It never imports the pipeline."""
