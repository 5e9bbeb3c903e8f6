"""I/O with gateways, usable without Jupyter Server."""
