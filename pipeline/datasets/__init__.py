"""One module per data set. `pipeline/raw.py` says what such a module offers; `table.py` reads CSV files instead."""
