"""The options of a gateway, and the settings that they amount to.

Reading and checking options belongs here; traitlets and `os.environ` do not (`config`).
"""
