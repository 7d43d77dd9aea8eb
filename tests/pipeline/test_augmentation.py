import keras
import numpy as np
import pytest

from pipeline.augmentation import augmentation_layer, sample_bilinear, without_augmentation
from pipeline.augmentation_params import ImageAugmentationParams, SignalAugmentationParams
from pipeline.errors import ParamsError
from pipeline.prepared import Description, Feature

SAMPLES = 24
COLUMNS = tuple(Feature(f"x{index}") for index in range(SAMPLES))
IMAGES = Description("shoes", "multiclass", "image", (9, 9), (3.0, 255.0), ("a", "b"), (), "", "", "", "", "", {})
SIGNALS = Description("eeg", "binary", "features", (SAMPLES,), None, ("a", "b"), COLUMNS, "", "", "", "", "", {})


def images(count=40):
    return np.random.default_rng(0).integers(3, 256, (count, 9, 9)).astype(np.float32)


def signals(count=40):
    return np.random.default_rng(0).normal(0, 5, (count, SAMPLES)).astype(np.float32)


def image_layer(**amounts):
    keras.utils.set_random_seed(1)
    return augmentation_layer(ImageAugmentationParams(kind="image", **amounts), IMAGES)


def signal_layer(**amounts):
    keras.utils.set_random_seed(1)
    return augmentation_layer(SignalAugmentationParams(kind="signal", **amounts), SIGNALS)


def augment(layer, rows):
    return np.asarray(layer(rows, training=True))


def test_between_pixels_their_mean_is_read_and_outside_the_fill():
    image = np.array([[[1.0, 3.0], [5.0, 7.0]]], dtype=np.float32)
    rows = np.array([[[0.0, 0.0, 0.5, 0.5, 5.0, -1.0]]], dtype=np.float32)
    columns = np.array([[[0.0, 0.5, 0.5, 1.0, 0.0, -9.0]]], dtype=np.float32)
    np.testing.assert_allclose(sample_bilinear(image, rows, columns, 9.0), [[[1.0, 2.0, 4.0, 5.0, 9.0, 9.0]]])


@pytest.mark.parametrize(("layer", "rows"), [(image_layer(), images()), (signal_layer(), signals())])
def test_amounts_of_zero_change_nothing(layer, rows):
    np.testing.assert_allclose(augment(layer, rows), rows, rtol=1e-5)


IMAGE_AMOUNTS = {
    "shift": 2.0,
    "rotation_degrees": 20.0,
    "shear_degrees": 20.0,
    "zoom": 0.3,
    "elastic": 1.0,
    "flip_horizontal": True,
}


@pytest.mark.parametrize("name", IMAGE_AMOUNTS)
def test_images_change_in_training_only_and_anew_each_time(name):
    layer, rows = image_layer(**{name: IMAGE_AMOUNTS[name]}), images()
    np.testing.assert_array_equal(layer(rows, training=False), rows)
    first, second = augment(layer, rows), augment(layer, rows)
    assert first.shape == rows.shape
    assert np.abs(first - rows).mean() > 5
    assert np.abs(first - second).mean() > 5
    assert 3 - 1e-3 <= first.min() <= first.max() <= 255 + 1e-3


def test_a_shift_moves_a_point_by_no_more_than_its_amount():
    points = np.full((200, 9, 9), 3.0, dtype=np.float32)
    points[:, 4, 4] = 103
    moved = augment(image_layer(shift=2.0), points) - 3
    centres = [(moved.sum(axis=axis) * np.arange(9)).sum(axis=1) / moved.sum(axis=(1, 2)) for axis in (2, 1)]
    for centre in centres:
        assert 2 <= centre.min() < 2.3
        assert 5.7 < centre.max() <= 6 + 1e-3


def test_a_quarter_turn_is_reached_in_both_directions_and_never_passed():
    points = np.full((300, 9, 9), 3.0, dtype=np.float32)
    points[:, 4, 8] = 103
    moved = augment(image_layer(rotation_degrees=90.0), points) - 3
    heights = (moved.sum(axis=2) * np.arange(9)).sum(axis=1) / moved.sum(axis=(1, 2))
    assert heights.min() < 0.3
    assert heights.max() > 7.7
    assert (moved[:, :, :4].sum(axis=(1, 2)) < 0.5 * moved.sum(axis=(1, 2))).all()


def test_half_of_the_images_are_mirrored():
    rows = images(400)
    flipped = augment(image_layer(flip_horizontal=True), rows)
    mirrored = np.isclose(flipped, rows[:, :, ::-1], atol=1e-3).all(axis=(1, 2))
    assert np.isclose(flipped[~mirrored], rows[~mirrored], atol=1e-3).all()
    assert 150 < mirrored.sum() < 250


def test_a_shifted_signal_goes_on_as_its_mirror_image():
    rows = np.tile(np.arange(SAMPLES, dtype=np.float32), (100, 1))
    moved = augment(signal_layer(shift=3.0), rows)
    continued = np.concatenate([np.arange(3, 0, -1), np.arange(SAMPLES), np.arange(SAMPLES - 2, SAMPLES - 5, -1)])
    windows = {tuple(continued[start : start + SAMPLES].astype(float)) for start in range(7)}
    assert {tuple(row) for row in moved.astype(float)} == windows


def test_amplitudes_stay_between_their_bounds():
    rows = signals(400)
    factors = (augment(signal_layer(amplitude=0.25), rows) / rows)[:, 0]
    assert 0.8 <= factors.min() < 0.81
    assert 1.24 < factors.max() <= 1.25 + 1e-5


@pytest.mark.parametrize(
    ("name", "change"), [("flip_sign", lambda rows: -rows), ("reverse", lambda rows: rows[:, ::-1])]
)
def test_half_of_the_signals_are_turned(name, change):
    rows = signals(400)
    turned = augment(signal_layer(**{name: True}), rows)
    is_turned = np.isclose(turned, change(rows)).all(axis=1)
    np.testing.assert_allclose(turned[~is_turned], rows[~is_turned])
    assert 150 < is_turned.sum() < 250


def test_noise_is_a_share_of_each_signals_own_deviation():
    rows = signals(400) * np.where(np.arange(400) < 200, 1, 10)[:, None]
    added = augment(signal_layer(noise=0.1), rows) - rows
    for half in (slice(200), slice(200, 400)):
        assert added[half].std() / rows[half].std() == pytest.approx(0.1, rel=0.1)


def test_the_finished_network_shares_its_weights_and_has_no_augmentation():
    inputs = keras.Input((9, 9), name="image")
    hidden = keras.layers.Flatten()(image_layer(shift=2.0)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="output")(hidden))
    finished = without_augmentation(model)
    assert [type(layer).__name__ for layer in finished.layers] == ["InputLayer", "Flatten", "Dense"]
    assert finished.input.name == "image"
    assert finished.get_layer("output") is model.get_layer("output")
    np.testing.assert_array_equal(finished(images()), model(images()))
    assert without_augmentation(finished) is finished


WRONG = [
    (SignalAugmentationParams(kind="signal"), IMAGES, "'signal' does not fit 'shoes', .* Allowed here: 'image'"),
    (ImageAugmentationParams(kind="image"), SIGNALS, "'image' does not fit 'eeg', .* Allowed here: 'signal'"),
    (ImageAugmentationParams(kind="image", shift=9.0), IMAGES, "expected less than the 9 positions .* received 9.0"),
    (SignalAugmentationParams(kind="signal", shift=24.0), SIGNALS, "less than the 24 positions of a row, received 24"),
]


@pytest.mark.parametrize(("params", "description", "sentence"), WRONG)
def test_an_augmentation_that_does_not_fit_the_rows_says_which_does(params, description, sentence):
    with pytest.raises(ParamsError, match=sentence):
        augmentation_layer(params, description)
