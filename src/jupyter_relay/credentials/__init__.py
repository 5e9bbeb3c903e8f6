"""What we show a gateway, and how it stays fresh.

Sources of tokens belong here; which settings name them does not (`settings`).
"""
