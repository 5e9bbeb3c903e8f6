"""One link between a kernel and all who listen to it, as a pure state machine.

What happens to a link and its messages is decided here; sockets, clocks and HTTP are not here.
"""
