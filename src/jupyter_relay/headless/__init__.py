"""Kernel manager and client for nbclient, papermill and scripts. No Jupyter Server is needed."""
