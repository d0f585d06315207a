"""The estimators: one public class per file, and what only they share.

- `_classifier`, `_regressor`, `_token_classifier`, `_embedder`, `_pretrainer`,
  `_generator`, `_wordpiece_vocabulary`: the public classes
- `_base`, `_text_predictor`, `_language_model`, `_texts`: their bases
- `_fit`: one call of `fit`; `_nested_pretraining`: a step of it
- `_same_call`: what makes two calls the same one
- `_zero_shot`: descriptions of classes in a fit, or instead of texts
- `_sampling`: the next token; `_whitening`: vectors without correlation
- `_save`, `_transformers_layout`, `_model_card`: a fitted estimator becomes a folder
"""
