"""Many rows: in batches of constant memory, and on the engines that people have.

- `_source`: a file, or the caller's batches -> X, batch by batch
- `_parts`: answers -> a Parquet file, of which a killed run keeps what was done
- `stream`: from the one to the other
- `make_predict_fn` (Spark) and `Predictor` (Ray Data, Dask, pandas)
- `alone`: a fit of one process where several make each fit together
"""

from sklearn_bert._process._launch import alone
from sklearn_bert.distributed._engines import Predictor, make_predict_fn
from sklearn_bert.distributed._stream import stream

__all__ = ["Predictor", "alone", "make_predict_fn", "stream"]
