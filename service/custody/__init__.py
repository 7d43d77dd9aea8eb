"""Clients' connections outlive the HTTP worker that serves them, should it be killed.

The supervisor holds a copy of every connection's descriptor. When a worker dies, what it had not begun to read goes to
another worker, and a client whose request it had read is told to try again (503 with Retry-After); nobody's connection
is reset. On Linux only, since it takes the kernel's byte counts of a connection.
"""
