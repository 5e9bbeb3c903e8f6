"""HTTP requests and websockets to one address.

Connections, TLS and proxies belong here; what an answer means does not (`rest`).
"""
