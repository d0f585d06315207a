"""Brings the fixtures of `fixtures.py` to every process that runs tests.

With `-n 2` a third process only hands tests out. It imports neither torch nor this
package, so that the two others start ten seconds earlier.
"""

import gc
import importlib.util
from pathlib import Path

import pytest

# Examples that take more than about ten seconds; `make test-guide` runs them.
SLOW_EXAMPLES = {"sklearn_bert.onnx._export.export"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark slow examples of docstrings, before slow tests are left out."""
    for item in items:
        if item.name in SLOW_EXAMPLES:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    """Register the fixtures as a plugin, but where tests are only handed out.

    Last of all, so that pytest-cov counts the lines that an import runs.
    """
    config = session.config
    is_worker = hasattr(config, "workerinput")
    if config.getoption("numprocesses", None) and not is_worker:
        return
    gc.disable()  # until the tests begin: the imports leave next to no garbage
    path = Path(__file__).with_name("fixtures.py")
    spec = importlib.util.spec_from_file_location("shared_fixtures", path)
    fixtures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fixtures)
    config.pluginmanager.register(fixtures, "shared_fixtures")
