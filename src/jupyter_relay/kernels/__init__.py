"""The kernels of a gateway that are ours: each with its link and its subscribers.

Owning, attaching and ending kernels belongs here; Jupyter's own classes do not.
"""
