"""`python -m sklearn_bert`: the command line, as `sklearn-bert`."""

import sys

from sklearn_bert.cli._main import main

if __name__ == "__main__":
    sys.exit(main())
