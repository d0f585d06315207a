"""One training run. The only folder that knows skorch.

- `_net`: the run: epochs, validation, callbacks
- `_update`: one update, in as many parts as memory asks for
- `_optimizer`: AdamW, its rate, its float32 weights
- `_examples`, `_losses`, `_contrastive`, `_epoch_losses`: what is learnt
- `_trainable_view`: the part of a model that learns
- `_callbacks`, `_user_callbacks`: ours and the caller's, between updates
- `_joined`, `_ranks`: the processes that make one fit together
- `acceleration`: techniques that have to show their gain
"""
