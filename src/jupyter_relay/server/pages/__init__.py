"""The websockets of pages.

Writing to a page, and what it may send, belongs here; what a message means does not (`link`).
"""
