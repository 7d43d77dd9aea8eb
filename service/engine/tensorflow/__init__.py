"""TensorFlow without its Python package: the C API, tensors, and the classes of its messages.

Imports only the modules at the engine's top.
"""
