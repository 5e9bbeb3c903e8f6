"""URLs and bodies of requests to a gateway, and what its answers mean.

URLs, models and refusals belong here, all of it pure; sending a request does not (`transport`).
"""
