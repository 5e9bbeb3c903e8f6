"""Kernel manager and client for nbclient, papermill, consoles and scripts.

Translation to jupyter_client belongs here; decisions about kernels do not (`kernels`).
"""
