"""The Jupyter Server side: managers, pages, and the switch that puts them in place.

Translation to Jupyter Server belongs here; decisions about kernels do not (`kernels`).
"""
