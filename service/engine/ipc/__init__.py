"""Front ends and engine in different processes: messages over a socket, and memory that they share.

Imports only the modules at the engine's top.
"""
