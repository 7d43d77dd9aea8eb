"""The front page and the API page, in a real browser and over the real service."""

import gzip
import json
import re
from urllib.parse import urljoin

import pytest
import requests

from tests.end_to_end.browser import Browser
from tests.end_to_end.service import free_port, service, wait_for
from tests.programs import require_programs

SEVEN = [(0.3, 0.2), (0.7, 0.2), (0.6, 0.4), (0.45, 0.8)]
PATHS = re.compile(r"""(?:src|href|from|import)\s*[=(]?\s*["']([^"'#]+)["']""")


@pytest.fixture(scope="module")
def running(built):
    """A service on four models and one that is broken."""
    with service(built / "pages", ready=False, batching=False) as running:
        wait_for(lambda: running.answers_200("/v2/health/live"), "the service", 60)
        wait_for(lambda: all(running.state(name) == "AVAILABLE" for name in ("digits", "breast_cancer")), "models", 60)
        wait_for(lambda: all(running.state(name) == "AVAILABLE" for name in ("diabetes", "foreign")), "models", 60)
        yield running


@pytest.fixture(scope="module")
def address(running):
    return running.address


@pytest.fixture(scope="module")
def guarded_address(built, tmp_path_factory):
    """A service that wants a token."""
    tokens = tmp_path_factory.mktemp("guarded") / "tokens"
    tokens.write_text("predict let-me-predict\nmetrics let-me-measure\n")
    with service(built / "pages", models=["digits"], token_file=tokens) as running:
        yield running.address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    require_programs("chromium", "chromedriver")
    browser = Browser(tmp_path_factory.mktemp("profile"), free_port())
    yield browser
    browser.close()


def files_of(session, address, page):
    """What a page names, and what the scripts and styles name that it loads, with the answers."""
    found, queue = {}, [urljoin(address, page)]
    for target in queue:
        response = found[target] = session.get(target, timeout=20)
        kind = response.headers.get("Content-Type", "")
        if kind.startswith(("text/html", "text/javascript", "text/css")) and len(response.content) < 100_000:
            for path in PATHS.findall(response.text):
                named = urljoin(target, path)
                if named.startswith(address) and named not in found and named not in queue:
                    queue.append(named)
    return found


@pytest.mark.parametrize("page", ["/", "/docs"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_every_file_that_a_page_names_is_there_on_kept_connections(address, page, encoding):
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept-Encoding"] = encoding
        for _ in range(3):
            found = files_of(session, address, page)
            assert len(found) > 4, list(found)
            assert {target: response.status_code for target, response in found.items()
                    if not response.ok and "/broken/" not in target} == {}  # fmt: skip
            for target, response in found.items():
                assert response.content, target


def test_large_files_are_compressed_for_those_who_can_read_it(address):
    style = f"{address}/docs/swagger-ui.css"
    plain = requests.get(style, headers={"Accept-Encoding": "identity"}, timeout=20).content
    with requests.get(style, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=20) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.raw.read(decode_content=False)) == plain


def refusals(browser):
    """Complaints but for the 503 of readiness, which is the truth while `broken` is broken."""
    return [message for message in browser.complaints() if "/v2/health/ready" not in message]


def test_opening_a_model_shows_the_answer_to_a_row_of_the_test_set(address, browser):
    browser.open(f"{address}/#digits")
    browser.wait_for_text(".verdict", "9 90.0 %")
    browser.wait_for_text(".truth", "it is 0")
    assert "98.0 %" in browser.text(".figures")
    assert refusals(browser) == []


def test_a_drawing_is_sent_as_a_picture(address, browser):
    browser.open(f"{address}/#digits")
    browser.wait_for_text(".verdict", "9")
    browser.click("Clear")
    browser.wait_for_text("#model", "Draw something, or choose a file.")
    browser.draw(".pad", SEVEN)
    browser.wait_for_text("pre", '"signature_name":"image_bytes"')
    browser.wait_for_text(".verdict", "9 90.0 %")
    assert refusals(browser) == []


def test_a_drawing_fills_the_grid_as_the_training_data_do(address, browser):
    browser.open(f"{address}/")
    script = """
        const strokes = [arguments[0]];
        return import("./pages/strokes.js").then(({ toGrid }) => [toGrid(strokes, 8, 8), toGrid(strokes, 28, 28)]);
    """
    small, large = browser.run(script, SEVEN)
    assert max(map(max, small)) == pytest.approx(1, abs=0.01)
    assert sum(small[0]) > 1
    assert sum(small[7]) > 0.3
    mass = sum(map(sum, large))
    rows = sum((index + 0.5) * sum(row) for index, row in enumerate(large)) / mass
    columns = sum((index + 0.5) * value for row in large for index, value in enumerate(row)) / mass
    assert (rows, columns) == (pytest.approx(14, abs=0.2), pytest.approx(14, abs=0.2))
    inked = [index for index, row in enumerate(large) if max(row) > 0.2]
    assert inked[-1] - inked[0] + 1 in (19, 20, 21)


CHOOSE_FILE = """
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d");
    context.fillStyle = arguments[0];
    context.fillRect(0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve)).then((blob) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(arguments[1] ? [arguments[1]] : [blob], "picture.png", { type: "image/png" }));
      const input = document.querySelector("input[type=file]");
      input.files = transfer.files;
      input.dispatchEvent(new Event("change"));
    });
"""
IS_INVERTED = "return document.querySelector('input[type=checkbox]').checked"


@pytest.mark.parametrize(("paper", "inverted"), [("#fff", True), ("#000", False)])
def test_a_chosen_file_is_inverted_where_its_paper_is_light(address, browser, paper, inverted):
    browser.open(f"{address}/#digits")
    browser.wait_for_text(".verdict", "9")
    browser.run(CHOOSE_FILE, paper, None)
    browser.wait_for_text("pre", '"signature_name":"image_bytes"')
    browser.wait_for_text("#model", "Dark on light: invert it first")
    assert browser.run(IS_INVERTED) is inverted
    browser.wait_for_text(".verdict", "9 90.0 %")


def test_a_file_that_is_no_picture_is_named(address, browser):
    browser.open(f"{address}/#digits")
    browser.wait_for_text(".verdict", "9")
    browser.run(CHOOSE_FILE, "#fff", "no picture")
    browser.wait_for_text(".error", "picture.png is not a picture that this browser can read.")


def test_fields_are_checked_and_sent_by_name(address, browser):
    browser.open(f"{address}/#breast_cancer")
    browser.wait_for_text(".verdict", "malignant 90.0 %")
    browser.run("document.querySelector('input[type=number]').value = ''")
    browser.click("Predict")
    browser.wait_for_text(".note", "mean_radius needs a number.")
    browser.run("document.querySelector('input[type=number]').value = '1.5'")
    browser.click("Predict")
    browser.wait_for_text("pre", '"mean_radius":1.5')
    browser.wait_for_text(".verdict", "malignant")


def test_a_regression_answers_in_its_unit(address, browser):
    browser.open(f"{address}/#diabetes")
    browser.wait_for_text(".verdict", "206.1 points")
    browser.wait_for_text("#model", "Measured: 151 points")


def test_a_model_without_a_description_gets_a_request_made_from_its_signature(address, browser):
    browser.open(f"{address}/#foreign")
    browser.wait_for_text("#signature", "serving_default")
    request = json.loads(browser.run("return document.querySelector('textarea').value"))
    assert request == {"signature_name": "serving_default", "instances": [{"left": [0, 0], "word": ""}]}
    browser.click("Predict")
    browser.wait_for_text("[aria-live] pre", "206.1")
    browser.run("document.querySelector('textarea').value = '{\"instances\": [1]}'")
    browser.click("Predict")
    browser.wait_for_text(".error", "instances is a plain list, but expecting list of objects")


def test_a_model_that_failed_to_load_says_why(address, browser):
    browser.open(f"{address}/#broken")
    browser.wait_for_text("h1", "broken")
    browser.wait_for_text(".error", "saved_model.pb")


def test_the_api_page_shows_the_document_and_sends_its_examples(address, browser):
    browser.open(f"{address}/docs#/predict/predict")
    browser.wait_for_text("#swagger-ui", "Try it out")
    browser.run("document.querySelector('.try-out__btn').click()")
    browser.wait_for_text("#swagger-ui", "Execute")
    browser.run("document.querySelector('.execute').click()")
    browser.wait_for_text(".live-responses-table tbody .response-col_status", "200")
    assert refusals(browser) == []


ENTER_TOKEN = """
    document.querySelector("#token input").value = arguments[0];
    document.querySelector("#token button").click();
"""


def test_the_page_asks_for_a_token_and_keeps_it_while_the_tab_is_open(guarded_address, browser):
    browser.open(f"{guarded_address}/#digits")
    browser.wait_for_text("#token", "The service asks for a token.")
    browser.run(ENTER_TOKEN, "wrong")
    browser.wait_for_text("#token", "The service does not know this token.")
    browser.run(ENTER_TOKEN, "let-me-measure")
    browser.wait_for_text("#token", "It needs scope predict and has: metrics.")
    browser.run(ENTER_TOKEN, "let-me-predict")
    browser.wait_for_text(".verdict", "9 90.0 %")
    assert browser.text("#token") == ""
    assert browser.text("#readiness") == "ready"
    shown = browser.text("pre")
    assert '-H "Authorization: Bearer $KILN_TOKEN"' in shown
    assert "let-me-predict" not in browser.run("return document.documentElement.outerHTML")
    browser.open(f"{guarded_address}/#digits")
    browser.wait_for_text(".verdict", "9 90.0 %")
    assert refusals(browser) == []


def test_a_page_that_is_open_already_asks_when_its_token_is_withdrawn(guarded_address, browser):
    browser.open(f"{guarded_address}/")
    browser.run("sessionStorage.setItem('kiln-token', 'let-me-predict'); location.reload()")
    browser.wait_for_text(".verdict", "9 90.0 %")
    # The scripts hold the token; a service that refuses it looks to them like this.
    browser.run(
        """
        const real = window.fetch;
        window.fetch = (address, options) => real(address, { ...options, headers: { Authorization: "Bearer gone" } });
        """
    )
    browser.click("An example of the test set")
    browser.wait_for_text("#token", "The service does not know this token.")
    browser.wait_for_text("h1", "digits")


def test_the_api_page_sends_the_token_that_was_entered_there(guarded_address, browser):
    browser.open(f"{guarded_address}/docs#/models/listModels")
    browser.wait_for_text("#swagger-ui", "Authorize")
    browser.run("document.querySelector('.btn.authorize').click()")
    browser.wait_for_text("#swagger-ui", "Available authorizations")
    browser.run(
        """
        const field = document.querySelector(".auth-container input");
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, arguments[0]);
        field.dispatchEvent(new Event("input", { bubbles: true }));
        document.querySelector(".auth-btn-wrapper .authorize").click();
        """,
        "let-me-predict",
    )
    browser.wait_for_text(".auth-container", "Logout")
    browser.run("document.querySelector('.btn-done').click()")
    browser.wait_for_text("#swagger-ui", "Try it out")
    browser.run("document.querySelector('.try-out__btn').click()")
    browser.wait_for_text("#swagger-ui", "Execute")
    browser.run("document.querySelector('.execute').click()")
    browser.wait_for_text(".live-responses-table tbody .response-col_status", "200")
