"""What the tests of the two floors share: a tiny net and its examples."""

import pytest


@pytest.fixture(autouse=True)
def without_collections(quick_room):
    """Make room without a collection in every test here."""
