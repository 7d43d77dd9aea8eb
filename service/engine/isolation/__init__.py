"""A version that crashes, hangs or takes the memory is found out, named, and kept from the others.

Imports `saved_model`, `sources` and `ipc`.
"""
