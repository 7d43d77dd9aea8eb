"""What is said of a version that cannot be called now: whether to ask again, and what else there is."""

from types import SimpleNamespace

import pytest

from service.engine.interface import AVAILABLE, END, LOADING, START, Catalog, ServedModel, Version
from service.engine.repository import Repository
from service.errors import ModelUnavailable, UnknownModel


def repository(*versions):
    model = ServedModel("m", tuple(versions))
    engine = SimpleNamespace(catalog=lambda: Catalog({"m": model}), note_demand=lambda _model: None)
    return Repository(engine)


@pytest.mark.parametrize("state", [START, LOADING])
def test_while_an_older_version_is_about_to_come_clients_are_told_to_ask_again(state):
    with pytest.raises(ModelUnavailable, match="'m' is still being loaded. Try again shortly") as caught:
        repository(Version("m", 2, END, "broken"), Version("m", 1, state)).find("m")
    assert caught.value.retry_after_seconds == 2


def test_where_no_version_can_be_loaded_the_newest_says_why():
    with pytest.raises(ModelUnavailable, match="version 2 could not be loaded") as caught:
        repository(Version("m", 2, END, "broken"), Version("m", 1, END, "broken too")).find("m")
    assert caught.value.retry_after_seconds is None


def test_a_version_that_another_has_replaced_is_not_to_be_loaded_by_hand():
    with pytest.raises(UnknownModel) as caught:
        repository(Version("m", 3, AVAILABLE), Version("m", 2, END)).find("m", 2)
    assert str(caught.value) == (
        "Servable not found for request: Specific(m, 2). It is not loaded any more. Loaded: 3. "
        "KILN_VERSIONS, or the model configuration, says which versions are."
    )


def test_a_model_that_was_unloaded_by_hand_can_be_loaded():
    with pytest.raises(UnknownModel, match="It was unloaded; POST /v2/repository/models/m/load loads the model"):
        repository(Version("m", 2, END)).find("m", 2)
