"""One writes the catalogue, everybody reads it: whole, and never an old one once it was replaced."""

import multiprocessing
import threading

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Catalog, ServedModel, Version
from service.engine.ipc.catalog_file import STARTING, CatalogFile
from service.engine.signature import DTYPES, Signature, TensorSpec
from service.engine.sources.files import is_model_name, read_description
from service.engine.sources.scanner import Scanner

SECONDS = 30
NAMES = st.text(min_size=1, max_size=8)
SHAPES = st.none() | st.lists(st.integers(-1, 2**40), max_size=4).map(tuple)
SPECS = st.builds(TensorSpec, NAMES, st.sampled_from(sorted(DTYPES)), SHAPES, NAMES)
TENSORS = st.lists(SPECS, max_size=3).map(lambda specs: {spec.name: spec for spec in specs})
DESCRIPTIONS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)  # fmt: skip
VERSIONS = st.builds(
    Version, NAMES, st.integers(0, 2**63 - 1), st.sampled_from([START, LOADING, AVAILABLE, UNLOADING, END]),
    st.text(max_size=9), st.dictionaries(NAMES, st.builds(Signature, TENSORS, TENSORS, NAMES), max_size=2),
    DESCRIPTIONS, st.floats(0, 2e9),
)  # fmt: skip
MODELS = st.builds(
    ServedModel, NAMES, st.lists(VERSIONS, max_size=3).map(tuple),
    st.dictionaries(NAMES, st.integers(0, 2**63 - 1), max_size=2), st.text(max_size=9),
)  # fmt: skip
CATALOGS = st.builds(Catalog, st.dictionaries(NAMES, MODELS, max_size=3), st.text(max_size=9), st.booleans())


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CATALOGS)
def test_every_field_comes_back(tmp_path, catalog):
    CatalogFile(tmp_path).publish(catalog)
    assert CatalogFile(tmp_path).read() == catalog


def test_what_a_signature_has_worked_out_is_not_published(tmp_path):
    spec = TensorSpec("x", "DT_FLOAT", (-1, 2), "x:0")
    assert spec.numpy_dtype == np.float32
    catalog = Catalog({"m": ServedModel("m", (Version("m", 1, signatures={"s": Signature({"x": spec}, {})}),))})
    CatalogFile(tmp_path).publish(catalog)
    assert b"numpy" not in (tmp_path / "catalog.json").read_bytes()
    assert CatalogFile(tmp_path).read().models["m"].versions[0].signatures["s"].inputs["x"].numpy_dtype == np.float32


def test_nothing_was_published_yet(tmp_path):
    assert CatalogFile(tmp_path).read() == Catalog(obstacle=STARTING, starting=True)


def test_a_reader_sees_what_was_published_before_it_asked(tmp_path):
    writer, reader = CatalogFile(tmp_path), CatalogFile(tmp_path)
    for number in range(20):
        catalog = numbered("w", number)
        writer.publish(catalog)
        assert reader.read() == catalog
        assert writer.read() == catalog


def test_the_same_catalogue_is_not_parsed_again(tmp_path):
    catalog_file = CatalogFile(tmp_path)
    catalog_file.publish(numbered("w", 1))
    assert catalog_file.read() is catalog_file.read()


def test_a_board_goes_on_where_another_has_ended(tmp_path):
    CatalogFile(tmp_path).publish(numbered("w", 1))
    reader = CatalogFile(tmp_path)
    assert reader.read() == numbered("w", 1)
    CatalogFile(tmp_path).publish(numbered("w", 2))
    assert reader.read() == numbered("w", 2)


def numbered(writer, number):
    """A catalogue in which several places have to agree."""
    versions = tuple(Version(writer, number - place, error="x" * (number % 50)) for place in range(5))
    return Catalog({writer: ServedModel(writer, versions, {"stable": number})}, obstacle=f"{writer} {number}")


def check(catalog):
    """Who wrote a catalogue, and its number, where it is whole."""
    if catalog.starting:
        return "", -1
    writer, number = catalog.obstacle.split()
    assert catalog == numbered(writer, int(number))
    return writer, int(number)


def test_threads_never_see_half_a_catalogue_or_an_old_one(tmp_path):
    writer, reader = CatalogFile(tmp_path), CatalogFile(tmp_path)
    published, last, failures = [-1], 60, []

    def read(catalog_file):
        seen = -1
        while seen < last:
            least = published[0]
            _, number = check(catalog_file.read())
            if number < max(seen, least):
                failures.append((seen, least, number))
                return
            seen = number

    threads = [
        threading.Thread(target=read, args=(catalog_file,)) for catalog_file in (reader, reader, CatalogFile(tmp_path))
    ]
    for thread in threads:
        thread.start()
    for number in range(last + 1):
        writer.publish(numbered("w", number))
        published[0] = number
    for thread in threads:
        thread.join(SECONDS)
    assert not failures


def publish_many(folder, writer, count, barrier):
    catalog_file = CatalogFile(folder)
    barrier.wait(SECONDS)
    for number in range(count):
        catalog_file.publish(numbered(writer, number))


def test_processes_that_publish_at_the_same_time_lose_nothing(tmp_path):
    """The engine and the supervisor both publish, if hardly ever at once."""
    context = multiprocessing.get_context("fork")
    count, barrier = 150, context.Barrier(3)
    processes = [context.Process(target=publish_many, args=(tmp_path, name, count, barrier)) for name in ("a", "b")]
    for process in processes:
        process.start()
    reader, seen = CatalogFile(tmp_path), {"a": -1, "b": -1, "": -1}
    barrier.wait(SECONDS)
    while any(process.is_alive() for process in processes):
        writer, number = check(reader.read())
        assert number >= seen[writer]
        seen[writer] = number
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert check(reader.read()) == check(CatalogFile(tmp_path).read())
    assert int.from_bytes((tmp_path / "catalog.serial").read_bytes(), "little") == 2 * count
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "text", ['{"a": 1' + "0" * 30 + "}", '{"a": "\\ud800"}', '{"a":' * 400 + "1" + "}" * 400, '{"a":' * 9999],
    ids=["a huge number", "half a pair", "deep", "endless"],
)  # fmt: skip
def test_a_description_that_cannot_be_published_is_ignored(tmp_path, text, caplog):
    """It would keep every other model's changes from being seen."""
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "model.json").write_text(text)
    assert read_description(tmp_path) == {}
    assert "which cannot be read" in caplog.text


def test_a_folder_whose_name_is_no_text_is_no_model(tmp_path):
    assert is_model_name("grün 模型")
    name = b"\xff".decode("utf-8", "surrogateescape")
    assert not is_model_name(name)
    (tmp_path / name / "1").mkdir(parents=True)
    (tmp_path / name / "1" / "saved_model.pb").touch()
    scan = Scanner(tmp_path).scan()
    assert scan.models() == []
    assert "cannot be reached" in scan.problems["\\udcff"]
    orjson.dumps(scan.problems)
