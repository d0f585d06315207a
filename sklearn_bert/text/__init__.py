"""X becomes rows of token ids. NumPy, data frames and tokenizers; no torch.

- `_input`, `_columns`, `_template`, `_surrogates`, `_documents`, `_words`: what a
  user hands in
- `_tokenizer`, `_encode`, `_special_tokens`, `_long`, `_token_cache`: texts to ids
- `_table`, `_batches`: the rows, and which of them make a batch
- `_masking`, `_corpus`: rows of which some tokens are to be predicted
- `_truncation`, `_unknown`: what was cut, and what is unknown
- `_wordpiece`: a vocabulary, learnt
"""
