"""Techniques that make training faster: one wrapper per file."""
