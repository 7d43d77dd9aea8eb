"""What every HTTP request passes through: the application, its context, access, routing, memory and errors.

Imports `codecs` and the engine; the routes of the protocols are given to it.
"""
