"""What is measured: one file for a family of work."""
