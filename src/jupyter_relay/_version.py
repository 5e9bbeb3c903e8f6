"""The version of the distribution, read by the build and by Jupyter Server."""

__version__ = "0.1.0"
