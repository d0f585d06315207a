"""Ground floor: what the caller hands in becomes token ids.

This folder uses NumPy, data frames and tokenizers, and neither models nor estimators.
"""
