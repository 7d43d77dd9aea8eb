"""Requests of several clients become calls of a model. Imports only the modules at the engine's top."""
