"""X becomes rows of token ids. NumPy, data frames and tokenizers; no torch.

- `_input`, `_columns`, `_template`, `_words`: what a user hands in
- `_stream`: texts that come one by one, kept in a file
- `_tokenizer`, `_special_tokens`, `_long`: texts to ids
- `_table`: the rows, and some of them laid out in a batch
- `_masking`, `_corpus`: rows of which some tokens are to be predicted
- `_reports`: what was cut, and what is unknown; `_rows`: a row for each text
- `_wordpiece`: a vocabulary, learnt
"""
