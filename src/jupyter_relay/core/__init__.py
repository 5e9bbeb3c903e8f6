"""Decisions. No I/O, no asyncio, no clock and no chance of its own: both are arguments."""
