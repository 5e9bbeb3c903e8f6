"""Bytes to messages and back. No I/O, no asyncio.

Source of the formats: the Jupyter Server documentation, "WebSocket kernel wire protocols".
"""
