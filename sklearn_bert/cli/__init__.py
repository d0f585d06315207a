"""The command line: `sklearn-bert`, and `python -m sklearn_bert`.

- `_main`, `_parser`: from arguments to a command and an exit status
- `_fit`, `_predict`, `_evaluate`, `_explain`, `_report`, `_embed`, `_export`, `_info`,
  `_demo`: one command each, imported when it is asked for
- `_tables`, `_columns`: files -> data frames -> texts and targets, and back
- `_folders`, `_answers`, `_scores`: saved models, what they say, and how good it is
- `_console`, `_out`: what is written to the console, and where files may go
"""
