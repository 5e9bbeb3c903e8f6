"""What Jupyter Relay costs, beside Jupyter Server's own gateway client and beside no server at all.

Every figure stands next to those of its *peer* and its *limit*, taken in the same run:

- *relay*: a Jupyter Server with our extension, or our headless client;
- *peer*: the same with what Jupyter Server brings for gateways;
- *limit*: a bare client that talks straight to the same gateway;
- *pipe*: a plain TCP relay before it, the least that a Python process in the middle does.

``gateway.py`` is the gateway, in a process of its own; ``tab.py`` is the browser. Both are faster
than what is measured between them, which the column *gateway* shows. ``works/`` has one file
for a family of work. ``python -m bench --help`` says how to run it.
"""
