"""Ground floor: what the caller hands in becomes token ids.

Knows NumPy, data frames and tokenizers; knows no model and no estimator.
"""
