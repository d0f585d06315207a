"""A training run: examples, losses, updates, callbacks. The only window to skorch."""
