"""Token ids become vectors and scores. torch and transformers; no labels, no skorch.

- `_checkpoint`, `_find`, `_sentence_transformers`, `_checkpoint_tokenizer`: a folder
  is read, or a name on the Hub
- `_folder_checks`, `_loaded_checks`, `_damage`, `_errors`: what is wrong with it
- `_text_model`, `_language_model`: an encoder with a head, or with its first ones
- `_pooling`, `_post_processing`, `_layers`, `_lora`, `_positions`: their parts
- `_attention`, `_dropout`, `_recompute`: the same numbers in less time or memory
- `_draws`, `_torch_state`: random numbers and settings of its own
- `_files`: a model is written and read
"""
