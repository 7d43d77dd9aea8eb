"""The real service on a model repository in which anything may lie, and in which things come and go."""

import os
import shutil
import threading

import pytest

from tests.end_to_end.service import service, wait_for


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """SavedModels that multiply: `saved / "2"` gives twice what it is asked."""
    import tensorflow as tf

    class Multiply(tf.Module):
        def __init__(self, factor):
            self.factor = tf.Variable(float(factor))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"y": x * self.factor}

    folder = tmp_path_factory.mktemp("saved")
    for factor in (1, 2, 3):
        module = Multiply(factor)
        tf.saved_model.save(module, str(folder / str(factor)), signatures=module.serve)
    return folder


@pytest.fixture
def publish(saved, tmp_path):
    """Puts a model that multiplies by a factor under a path of the repository, in one rename."""

    def publish(path, factor=1):
        target = tmp_path / "models" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(saved / str(factor), tmp_path / "models" / ".new")
        (tmp_path / "models" / ".new").rename(target)
        return target

    return publish


@pytest.fixture
def models(tmp_path, publish):
    publish("good/1")
    return tmp_path / "models"


def factor(running, model, path=""):
    """What a version multiplies by."""
    response = running.post(f"/v1/models/{model}{path}:predict", json={"instances": [7.0]})
    assert response.status_code == 200, response.text
    return response.json()["predictions"][0] / 7.0


def test_one_entry_never_hides_another(models, publish):
    publish("m/1")
    (models / "m" / "2").symlink_to("2")
    publish("half_plus_two/00000123", 2)
    publish("flat")
    publish("named/v1")
    publish("triton/1/model.savedmodel")
    publish("a:b/1")
    (models / "keras").mkdir()
    (models / "keras" / "model.keras").touch()
    os.mkfifo(models / "fifo")
    (models / "loop").symlink_to("loop")
    (models / "pipe" / "1").mkdir(parents=True)
    os.mkfifo(models / "pipe" / "1" / "saved_model.pb")
    extra = publish("described/1") / "assets.extra"
    extra.mkdir(exist_ok=True)
    os.mkfifo(extra / "model.json")
    with service(models) as running:
        assert factor(running, "good") == factor(running, "m") == factor(running, "described") == 1.0
        assert factor(running, "half_plus_two") == factor(running, "half_plus_two", "/versions/123") == 2.0
        problems = running.get("/v1/models").json()["problems"]
        assert f"move the files to {models}/flat/1" in problems.pop("flat")
        assert "rename it, to 1" in problems.pop("named/v1")
        assert f"move the contents of {models}/triton/1/model.savedmodel to" in problems.pop("triton/1")
        assert "cannot be reached" in problems.pop("a:b")
        assert "export" in problems.pop("keras/model.keras")
        assert "is not a folder" in problems.pop("fifo")
        assert "Too many levels of symbolic links" in problems.pop("loop")
        assert problems == {}
        response = running.get("/v1/models/flat")
        assert response.status_code == 404
        assert "move the files to" in response.json()["error"]
        assert "symbolic links" in running.status("m")[0]["status"]["error_message"]
        assert "regular file" in running.status("pipe")[0]["status"]["error_message"]
        wait_for(lambda: "Kiln serves" in running.log(), "the announcement")
        assert "Not served: flat:" in running.log()
        assert running.log().count("'flat' in the model repository is not served") == 1
        # What is mended is served.
        (models / "m" / "2").unlink()
        publish("m/2", 2)
        (models / "named" / "v1").rename(models / "named" / "1")
        wait_for(lambda: running.state("m", 2) == running.state("named") == "AVAILABLE", "what was mended")
        assert (factor(running, "m"), factor(running, "named")) == (2.0, 1.0)
        assert "named/v1" not in running.get("/v1/models").json()["problems"]


def test_a_version_that_vanishes_and_comes_back_is_replaced_without_a_gap(models, publish):
    faults, is_over = [], threading.Event()

    def ask():
        while not is_over.is_set():
            response = running.post("/v1/models/good:predict", json={"instances": [7.0]})
            if response.status_code != 200 or response.json()["predictions"] not in ([7.0], [14.0], [21.0]):
                faults.append(response.text)

    with service(models, poll_seconds=1) as running:
        asking = threading.Thread(target=ask)
        asking.start()
        shutil.rmtree(models / "good" / "1")
        publish("good/1", 2)
        wait_for(lambda: factor(running, "good") == 2.0, "the new content")
        (models / "good").rename(models / ".away")
        wait_for(lambda: factor(running, "good") == 2.0, "an answer")
        publish("good/1", 3)
        wait_for(lambda: factor(running, "good") == 3.0, "the newer content")
        (models / "good" / "1" / "saved_model.pb").write_bytes(b"cut short")
        wait_for(lambda: running.status("good")[0]["status"]["error_message"], "why it cannot be replaced")
        assert running.state("good") == "AVAILABLE"
        assert factor(running, "good") == 3.0
        is_over.set()
        asking.join()
    assert faults == []


def test_a_label_whose_version_is_not_there_yet_is_503(models, publish, tmp_path):
    (tmp_path / "models.toml").write_text("[good.labels]\nstable = 1\nnext = 2\n")
    with service(models, model_config=tmp_path / "models.toml") as running:
        assert factor(running, "good", "/labels/stable") == 1.0
        response = running.post("/v1/models/good/labels/next:predict", json={"instances": [7.0]})
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "Label 'next' of model 'good' names version 2" in response.json()["error"]
        assert running.post("/v1/models/good/labels/other:predict", json={"instances": [7.0]}).status_code == 400
        publish("good/2", 2)
        wait_for(lambda: running.state("good", 2) == "AVAILABLE", "version 2")
        assert factor(running, "good", "/labels/next") == 2.0


def wait_for_good(running):
    wait_for(lambda: running.answers_200("/v2/health/live"), "HTTP", 120)
    wait_for(lambda: running.state("good") == "AVAILABLE", "the good model", 120)


def reason(running):
    response = running.get("/v2/health/ready")
    return "" if response.status_code == 200 else response.json()["reason"]


def test_all_must_be_served_where_readiness_says_so(models, publish):
    publish("flat")
    with service(models, ready=False, environment={"KILN_READY": "all"}) as running:
        wait_for_good(running)
        assert "move the files to" in reason(running)
        publish("bad/1")
        (models / "bad" / "1" / "saved_model.pb").write_bytes(b"no graph")
        shutil.rmtree(models / "flat")
        wait_for(lambda: "bad" in reason(running), "the broken model")
        shutil.rmtree(models / "bad")
        running.wait_until_ready()


def test_named_models_must_be_served_where_readiness_says_so(models, publish):
    publish("flat")
    with service(models, ready=False, environment={"KILN_READY": "good,late"}) as running:
        wait_for_good(running)
        assert "No model late" in reason(running)
        publish("late/1")
        running.wait_until_ready()
