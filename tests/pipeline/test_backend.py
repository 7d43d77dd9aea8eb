"""What the pipeline asks of the backend before it is loaded."""

import os

import pytest

from pipeline.backend import start_keras

FAST = "--xla_cpu_use_fusion_emitters=false"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, FAST),
        ("--xla_cpu_multi_thread_eigen=true", f"--xla_cpu_multi_thread_eigen=true {FAST}"),
        (FAST, FAST),
        ("--xla_cpu_use_fusion_emitters=true", "--xla_cpu_use_fusion_emitters=true"),
    ],
)
def test_xla_keeps_dropout_fast_unless_told_otherwise(monkeypatch, given, expected):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if given is not None:
        monkeypatch.setenv("XLA_FLAGS", given)
    start_keras()
    assert os.environ["XLA_FLAGS"] == expected
