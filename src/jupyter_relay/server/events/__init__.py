"""The Jupyter events that we emit: their schemas, and the code that emits them.

What happens to links and kernelspecs is reported here; when that is so is not decided here.
"""
