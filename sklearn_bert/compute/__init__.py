"""A model over many texts on a device.

- `_runner`: scores, vectors and likelihoods of the rows of a table
- `_inference`, `_windows`: batches of rows as tensors; the windows of one text
- `_features`: what frozen layers make of a text, kept
- `_device`, `_gpu_lock`, `_precision`, `_memory`: where, how precisely, and in how
  much memory
"""
