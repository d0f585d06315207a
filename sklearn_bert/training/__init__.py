"""One training run. The only folder that knows skorch.

- `_net`: the run: epochs, validation, callbacks
- `_update`, `_micro_batches`: one update, in as many parts as memory asks for
- `_optimizer`, `_schedule`, `_master_weights`: AdamW, its rate, its float32 weights
- `_examples`, `_losses`, `_contrastive`, `_epoch_losses`: what is learnt
- `_trainable_view`: the part of a model that learns
- `_best_weights`, `_progress`, `_sklearn_callbacks`, `_user_callbacks`: between updates
- `acceleration`: techniques that have to show their gain
"""
