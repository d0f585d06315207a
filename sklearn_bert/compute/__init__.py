"""A model over many texts on a device.

- `_runner`: scores, vectors and likelihoods of the rows of a table
- `_inference`, `_layout`, `_windows`: batches, tensors, windows of one text
- `_features`: what frozen layers make of a text, kept
- `_device`, `_memory`, `_working_copy`, `_gpu_lock`: where, and in how much memory
"""
