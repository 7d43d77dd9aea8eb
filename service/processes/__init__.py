"""The processes of a service: the supervisor, the front ends that it starts, and how they end.

Imports `http`, `protocols` and the engine; imported by `python -m service` only.
"""
