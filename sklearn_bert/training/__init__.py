"""Second floor: one training run, and one forward pass over many texts.

The only window to skorch.
"""
