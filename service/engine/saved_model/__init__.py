"""A SavedModel in memory: what it defines, whether it can be served, warm-up, calls, and whether rows may share one.

Imports `tensorflow`, `sources` and `batching`.
"""
