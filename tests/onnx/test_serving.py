"""The service of the guide answers as the estimator does."""

import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from sklearn_bert import BertClassifier, onnx

ROOT = Path(__file__).parents[2]
TEXTS = [f"{a} {b} film" for a in ("good", "bad", "fine") for b in ("old", "new")]
# Two workers that uvicorn starts anew, and two that a parent forks which has imported
# the app, as `gunicorn --preload` does.
COMMANDS = {
    "anew": ["-m", "uvicorn", "app:app", "--port", "0", "--workers", "2"],
    "forked": ["preload.py"],
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
PRELOAD = """
import os
import signal

import uvicorn
from app import app

server = uvicorn.Server(uvicorn.Config(app, port=0))
listener = server.config.bind_socket()
workers = []
for _ in range(2):
    worker = os.fork()
    if not worker:
        server.run(sockets=[listener])
        raise SystemExit
    workers.append(worker)
signal.signal(signal.SIGTERM, lambda *_: [os.kill(w, signal.SIGTERM) for w in workers])
for worker in workers:
    os.waitpid(worker, 0)
"""


@pytest.fixture(scope="module")
def clf(shallow_checkpoint):
    clf = BertClassifier(
        shallow_checkpoint,
        random_state=0,
        device="cpu",
        precision="float32",
        learning_rate=5e-3,
    )
    return clf.fit(TEXTS, ["pos", "neg", "neutral"] * 2)


@pytest.fixture(scope="module")
def service(clf, tmp_path_factory):
    """A folder with the app of the guide, and the exported classifier."""
    folder = tmp_path_factory.mktemp("service")
    page = (ROOT / "docs" / "serving.rst").read_text("utf-8")
    (app,) = re.findall(
        r"``app.py``:\n\n.. code-block:: python\n\n(.*?)\n\n\.\.", page, re.DOTALL
    )
    (folder / "app.py").write_text(textwrap.dedent(app), "utf-8")
    (folder / "preload.py").write_text(PRELOAD, "utf-8")
    onnx.export(clf, folder / "tickets", texts=TEXTS)
    return folder


@pytest.fixture
def address(service, request):
    """Where two workers listen; they are ended after the test."""
    log = service / "log"
    with log.open("w") as written:
        server = subprocess.Popen(
            [sys.executable, *COMMANDS[request.param]],
            cwd=service,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=written,
            stdout=written,
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := ADDRESS.search(said := log.read_text())) or (
            said.count("startup complete") < 2
        ):
            assert server.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield found[0]
    finally:
        server.terminate()
        server.wait(timeout=60)


def ask(address, texts):
    """Post some texts, and return the answer."""
    request = urllib.request.Request(
        f"{address}/predict",
        json.dumps({"texts": texts}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
@pytest.mark.parametrize(
    "address",
    [pytest.param("anew", marks=pytest.mark.slow), "forked"],
    indirect=True,
)
def test_service_of_the_guide_answers_like_the_estimator(clf, address):
    """Two workers, four clients: every label and probability is the estimator's."""
    pairs = [list(pair) for pair in itertools.permutations(TEXTS, 2)]
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda texts: ask(address, texts), pairs))
    for texts, answer in zip(pairs, answers, strict=True):
        assert answer["labels"] == clf.predict(texts).tolist()
        difference = np.abs(answer["probabilities"] - clf.predict_proba(texts))
        assert difference.max() < 1e-4
    with pytest.raises(urllib.error.HTTPError, match="422"):
        ask(address, [])
