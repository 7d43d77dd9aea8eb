"""Models on disk and in memory. Nothing here knows of the web; TensorFlow is imported here and nowhere else.

The rest of the service meets the engine in `Repository` and `Model`, which take and give numpy arrays by name; the
engine runs in a process of its own.
"""
