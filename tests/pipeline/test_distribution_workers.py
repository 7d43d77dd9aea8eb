"""Real processes that train one network together, on loopback and on two devices of one process."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.distribution import ALONE, Distribution
from pipeline.errors import TrainingError
from tests.pipeline.test_train_stage import digits_block, history, load, run, save_digits

ROOT = Path(__file__).parent.parent.parent
EPOCHS = 30
NETWORK = {"architecture": "mlp", "units": [32, 16]}

TWO_DEVICES = """
import sys
from pipeline.backend import start_keras
start_keras()
import tensorflow as tf
(processor,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from pipeline.train import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project, and what one process on one device has trained in it."""
    root = tmp_path_factory.mktemp("project")
    save_digits(root)
    assert run(root, block("none")) == 0
    return root, results(root)


def block(distribute):
    # 300 rows: the last batch has 12.
    return digits_block(distribute=distribute, epochs=EPOCHS) | {"network": NETWORK}


def start(root, *command):
    arguments = ["--model", "tested", "--params", str(root / "params.yaml"), "--root", str(root)]
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "1"}
    return subprocess.Popen([sys.executable, *command, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE)


def results(root):
    return load(root).get_weights(), [
        {name: float(value) for name, value in entry.items() if name != "seconds"} for entry in history(root)
    ]


def assert_same(found, expected):
    """Sums of float32 in another order, which 300 updates carry on."""
    for weights, wanted in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(weights, wanted, atol=1e-5)
    for entry, wanted in zip(found[1], expected[1], strict=True):
        assert entry == pytest.approx(wanted, abs=1e-5)


def test_two_workers_of_which_one_is_killed_train_what_one_does(project):
    root, expected = project
    with start(root, "-m", "pipeline.train_workers") as launcher:
        text = launcher.stdout.readline().decode()
        (_, second) = re.search(r"2 workers: processes (\d+), (\d+);", text).groups()
        while not list((root / ".kiln").rglob("state.npz")):
            assert launcher.poll() is None
            time.sleep(0.01)
        os.kill(int(second), signal.SIGKILL)
        text += launcher.stdout.read().decode()
    assert launcher.returncode == 0
    assert f"Worker 1 (process {second}) was killed by SIGKILL. Starting all workers again" in text
    assert 1 <= int(re.search(r"Going on after epoch (\d+), where a run was interrupted", text)[1]) < EPOCHS
    assert_same(results(root), expected)


def test_two_devices_train_what_one_does(project):
    root, expected = project
    parameters = root / "params.yaml"
    parameters.write_text(parameters.read_text().replace('"distribute": "none"', '"distribute": "mirrored"'))
    with start(root, "-c", TWO_DEVICES) as process:
        process.stdout.read()
    assert process.returncode == 0
    assert '"replicas": 2' in (root / "reports" / "tested" / "training" / "training.json").read_text()
    assert_same(results(root), expected)


def test_one_process_has_nothing_to_agree_on():
    assert ALONE.is_chief
    assert ALONE.share(b"figures") == b"figures"
    ALONE.check_equal("key")


def test_workers_that_train_something_else_are_told(monkeypatch):
    monkeypatch.setattr(Distribution, "share", lambda *_: b"other")
    with pytest.raises(
        TrainingError, match="expected the key other of parameters, rows and code, received key. Give all"
    ):
        Distribution().check_equal("key")


def test_a_worker_without_tf_config_says_how_to_start(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert run(tmp_path, block("multi_worker")) == 1
    assert "python -m pipeline.train_workers --model NAME --workers 2 starts workers on this" in capsys.readouterr().err
