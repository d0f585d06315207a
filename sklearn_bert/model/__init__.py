"""Token ids become vectors and scores. torch and transformers; no labels, no skorch.

- `_checkpoint`, `_find`: a folder, or a name on the Hub, is read
- `_checkpoint_encoder`, `_checkpoint_tokenizer`, `_sentence_transformers`: its parts
- `_damage`: what is wrong with it
- `_text_model`, `_language_model`: an encoder with a head, or with its first ones
- `_pooling`, `_post_processing`, `_layers`, `_lora`: their parts
- `_attention`, `_dropout`, `_recompute`: the same numbers in less time or memory
- `_one_piece`: weights that are given back to the system whole
- `_torch_state`: random numbers and settings of its own
- `_files`, `_shared_weights`: a model is written, and read once
- `_transformers_layout`: a model becomes one of transformers with its own head
"""
