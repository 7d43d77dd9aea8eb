import zipfile

import numpy as np
import pytest

from pipeline.datasets import breast_cancer, diabetes, seizure, wine_alcohol
from pipeline.errors import DataError, ParamsError

WINE_HEADER = (
    '"fixed acidity";"volatile acidity";"citric acid";"residual sugar";"chlorides";"free sulfur dioxide";'
    '"total sulfur dioxide";"density";"pH";"sulphates";"alcohol";"quality"'
)


def write_recordings(folder, samples=seizure.SAMPLES_PER_RECORDING, suffix="txt"):
    """Sample i of recording r of set s is 1000 s + r + i, modulo 2000."""
    for number, name in enumerate(seizure.SETS):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for recording in range(seizure.RECORDINGS_PER_SET):
                values = (1000 * number + recording + np.arange(samples)) % 2000
                archive.writestr(f"{name}{recording + 1:03}.{suffix}", "\r\n".join(map(str, values)) + "\r\n")


def test_recordings_are_cut_into_segments_in_order(tmp_path):
    write_recordings(tmp_path, suffix="TXT")
    raw = seizure.load(tmp_path, {})
    assert raw.x.shape == (11_500, 178)
    # Segment 22, the last, of recording 5 of set O.
    row = (100 + 5) * 23 + 22
    assert raw.x[row].tolist() == [(1000 + 5 + 178 * 22 + index) % 2000 for index in range(178)]
    assert raw.groups["recording"][row] == 105
    assert raw.y.sum() == 2_300
    assert raw.y[-2_300:].all()
    assert [feature.name for feature in raw.features[::177]] == ["sample_001", "sample_178"]


def test_an_archive_of_other_recordings_is_a_sentence(tmp_path):
    write_recordings(tmp_path, samples=10)
    with pytest.raises(DataError, match="Z.zip should hold 100 recordings of 4,097 samples, received 100 of"):
        seizure.load(tmp_path, {})


@pytest.mark.parametrize("content", [b"<html>", b""])
def test_a_file_that_is_no_archive_is_a_sentence(tmp_path, content):
    (tmp_path / "Z.zip").write_bytes(content)
    with pytest.raises(DataError, match="Z.zip is not an archive of recordings"):
        seizure.read_recordings(tmp_path / "Z.zip")


def test_the_digest_of_recordings_does_not_depend_on_the_container(tmp_path):
    remote = seizure.remote_files({})[0].files[0]
    write_recordings(tmp_path)
    first = remote.measure(tmp_path / "Z.zip")
    write_recordings(tmp_path, suffix="TXT")
    assert remote.measure(tmp_path / "Z.zip") == first
    with pytest.raises(DataError, match="Z.zip is altered or incomplete: Z should be sha256:"):
        remote.check(tmp_path / "Z.zip")


def test_wine_has_ten_features_and_not_the_quality(tmp_path):
    (tmp_path / wine_alcohol.FILE).write_text(f"{WINE_HEADER}\n7;0.27;0.36;20.7;0.045;45;170;1.001;3;0.45;8.8;6\n")
    raw = wine_alcohol.load(tmp_path, {})
    assert raw.y.tolist() == [np.float32(8.8)]
    assert raw.x[0].tolist() == [np.float32(value) for value in (7, 0.27, 0.36, 20.7, 0.045, 45, 170, 1.001, 3, 0.45)]
    assert [feature.name for feature in raw.features][:3] == ["fixed_acidity", "volatile_acidity", "citric_acid"]
    assert raw.target_unit == "% vol."


def test_malignant_is_the_positive_class(tmp_path):
    breast_cancer.write_bundled(tmp_path, {})
    raw = breast_cancer.load(tmp_path, {})
    assert raw.labels == ("benign", "malignant")
    assert np.bincount(raw.y).tolist() == [357, 212]
    radius = raw.x[:, [feature.name for feature in raw.features].index("mean_radius")]
    assert radius[raw.y == 1].mean() > radius[raw.y == 0].mean()


def test_diabetes_has_raw_units(tmp_path):
    diabetes.write_bundled(tmp_path, {})
    raw = diabetes.load(tmp_path, {})
    assert raw.x[0, :4].tolist() == [59.0, 2.0, np.float32(32.1), 101.0]
    assert (raw.y.min(), raw.y.max()) == (25, 346)


@pytest.mark.parametrize("module", [breast_cancer, diabetes, seizure, wine_alcohol])
def test_modules_without_options_refuse_any(module, tmp_path):
    with pytest.raises(ParamsError, match="unknown key 'scale'"):
        module.load(tmp_path, {"scale": 2})


def test_a_lost_bundled_file_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="run the fetch stage again"):
        diabetes.load(tmp_path, {})
