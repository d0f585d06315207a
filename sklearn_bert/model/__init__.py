"""First floor: token ids become vectors and scores.

This folder uses torch and transformers, and neither labels nor skorch.
"""
