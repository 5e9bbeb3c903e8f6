"""The Jupyter Server side: adapters that hold a kernel or a gateway, translate, decide nothing."""
