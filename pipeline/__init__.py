"""The half of Kiln that fires models: from raw data to published SavedModels. It never imports `service`."""
