"""The REST API of one gateway: kernelspecs, starts, lists, retries.

Requests belong here; who listens to a kernel does not (`kernels`).
"""
