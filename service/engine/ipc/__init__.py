"""Front ends and engine in different processes: messages over a socket, and memory that they share.

Imports nothing of the engine but its interface.
"""
