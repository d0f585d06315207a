"""No test is spared work by what an earlier one has tokenised."""

import pytest

from sklearn_bert import cache_info


@pytest.fixture(autouse=True)
def nothing_remembered():
    """Start with empty caches."""
    cache_info(clear=True)
