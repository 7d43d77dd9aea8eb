import numpy as np
import pytest

from benchmarks.training import main
from benchmarks.training_page import write_page
from benchmarks.training_results import Result, measure
from benchmarks.training_sides import NETWORKS, Training

PLAIN = [Training(10.0, 8.0, [6.0, 2.0, 2.0], 0.91), Training(20.0, 8.0, [14.0, 3.0, 3.0], 0.93)]
KILN = [Training(3.0, 4.0, [2.0, 0.5, 0.5], 0.92), Training(4.0, 4.0, [3.0, 0.6, 0.6], 0.92)]


def test_without_data_it_says_where_to_put_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KILN_DATA_MIRROR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert "No mnist.npz. Set KILN_DATA_MIRROR to a folder that holds it" in capsys.readouterr().err


def test_ratios_are_taken_within_a_round():
    result = Result(NETWORKS["softmax"], 3, PLAIN, KILN)
    assert result.ratios() == pytest.approx([0.3, 0.2])
    assert result.cpu_ratios() == pytest.approx([0.5, 0.5])
    assert result.later_ratios() == pytest.approx([0.25, 0.2])
    # Their median, 0.25, is just what is promised.
    assert result.is_met
    assert not Result(NETWORKS["softmax"], 3, PLAIN[:1], KILN[:1]).is_met
    assert Result(NETWORKS["lstm"], 3, KILN, PLAIN).is_met


def test_the_page_has_the_figures_and_names_what_was_not_run(tmp_path):
    page = write_page(tmp_path / "page.md", [Result(NETWORKS["softmax"], 3, PLAIN, KILN)], "the command")
    row = "| softmax net | 3 | 5.000 | 1.167 | 0.25 (0.20..0.30) | 0.25 | met | 0.50 (0.50..0.50) |"
    assert row in page
    assert "| softmax net | 3 | 2 | 0.9200 (0.9100..0.9300) | 0.9200 (0.9200..0.9200) |" in page
    assert "**Not run**: MLP 256-256, CNN 64-64-64, SimpleRNN 256, LSTM 128, a GPU" in page
    assert (tmp_path / "page.md").read_text() == page


def test_both_sides_train_on_the_file(tmp_path):
    generator = np.random.default_rng(0)
    y = generator.integers(0, 10, 400).astype(np.uint8)
    # The digit is how many rows of the picture are dark.
    x = np.where(np.arange(28)[:, None] < 2 * y[:, None, None], 255, 0).astype(np.uint8).repeat(28, axis=2)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x[:100], y_test=y[:100])
    (result,) = measure(["softmax"], tmp_path / "mnist.npz", rounds=1, epochs=30)
    for training in (result.plain[0], result.kiln[0]):
        assert training.accuracy > 0.5
        assert len(training.epoch_seconds) == 30
        assert training.seconds > sum(training.epoch_seconds)
