"""Bytes and messages.

Codecs, framing and JSON within bounds belong here; what a message is for does not (`link`).
"""
