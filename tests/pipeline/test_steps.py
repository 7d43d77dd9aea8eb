import keras
import numpy as np
import pytest

from pipeline.batches import Deal, order_of_epoch
from pipeline.steps import fit_in_steps, is_dense

ROWS, BATCH, SEED, EPOCHS = 150, 4, 5, 2
RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (ROWS, 6, 6)).astype(np.uint8)
Y = RANDOM.integers(0, 3, ROWS).astype(np.int32)


def build_network(*hidden):
    layers = [keras.Input((6, 6)), keras.layers.Rescaling(1 / 255), *hidden, keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])
    model.compile(
        keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    return model


def dense():
    # Before the layers: each takes its seed when it is made.
    keras.utils.set_random_seed(SEED)
    return build_network(keras.layers.Flatten(), keras.layers.Dense(5, activation="relu", kernel_regularizer="l2"))


class Figures(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.of_epochs, self.calls = [], 0

    def on_train_batch_end(self, _, logs=None):  # noqa: ARG002
        self.calls += 1

    def on_epoch_end(self, _, logs=None):
        self.of_epochs.append(dict(logs))


def fit(model, **arguments):
    figures = Figures()
    fit_in_steps(model, (X, Y), Deal(ROWS, BATCH, SEED), epochs=EPOCHS, verbose=0, callbacks=[figures], **arguments)
    return figures


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_steps_do_what_keras_does_batch_by_batch(jit_compile):
    expected, expected_figures = dense(), Figures()
    for epoch in range(EPOCHS):
        rows = order_of_epoch(SEED, epoch, ROWS)
        expected.fit(X[rows], Y[rows], BATCH, shuffle=False, verbose=0, callbacks=[expected_figures])
    model = dense()
    figures = fit(model, jit_compile=jit_compile)
    # 38 batches, the last one of two rows.
    assert figures.calls == EPOCHS
    for found, wanted in zip(figures.of_epochs, expected_figures.of_epochs, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4)
    for found, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_only_networks_of_dense_layers_are_compiled_unasked():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert is_dense(dense())
    assert is_dense(keras.Sequential([keras.Input((4,)), inner, keras.layers.Dropout(0.5)]))
    assert not is_dense(build_network(keras.layers.Reshape((6, 6, 1)), keras.layers.Conv2D(2, 3)))
    assert not is_dense(keras.Sequential([keras.Input((6, 6)), keras.layers.LSTM(2)]))
