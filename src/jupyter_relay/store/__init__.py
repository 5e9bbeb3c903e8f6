"""What outlives the process: a private folder with a small database.

Files and their schema belong here; when something is written down does not (`kernels`).
"""
