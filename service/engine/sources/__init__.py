"""Where versions come from: the model repository on disk, and the model configuration file.

Imports only the modules at the engine's top.
"""
