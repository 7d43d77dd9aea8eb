"""Requests of several clients become calls of a model. Imports nothing of the engine but its interface."""
