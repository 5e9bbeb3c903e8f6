"""The server's REST handlers, the bodies they read, and the errors they answer with.

Translation to HTTP belongs here; what is done to a kernel does not.
"""
