"""The pages for people: what they load, and that they load it from this service alone."""

import gzip
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from service import pages
from service.app import create_app
from service.settings import Settings
from tests.service.fake_engine import fake_repository
from tests.service.published_models import PublishedModel, publish

STATIC = Path(pages.__file__).parent / "static"


@pytest.fixture
def client(tmp_path) -> FlaskClient:
    repository = publish(tmp_path, "digits", "foreign")
    return create_app(Settings(), repository).test_client()


def fetch(client, path, **options):
    with client.get(path, **options) as response:
        response.get_data()
        return response


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_loads_only_files_that_exist_here(client, page):
    response = client.get(page)
    assert response.content_type == "text/html; charset=utf-8"
    addresses = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert addresses
    for address in addresses:
        assert not address.startswith(("http:", "https:", "//")), address
        assert fetch(client, urljoin("/", address)).status_code == 200, address


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_may_run_no_scripts_but_the_services_own(client, page):
    policy = client.get(page).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    assert "script-src" not in policy
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", client.get(page).text)


def test_the_front_page_names_the_models_where_there_are_no_scripts(client):
    assert 'href="v1/models/digits/metadata">digits</a>' in client.get("/").text


def test_names_are_escaped(tmp_path):
    publish(tmp_path, "digits")
    (tmp_path / "digits").rename(tmp_path / "<b>x")
    repository = fake_repository(tmp_path, PublishedModel, loaded=False)
    page = create_app(Settings(), repository).test_client().get("/").text
    assert "&lt;b&gt;x</a>" in page
    assert "<b>x" not in page


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_scripts_are_small_import_what_exists_and_never_make_markup_from_text(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for name in re.findall(r'from "\./([^"]+)"', text):
        assert (STATIC / name).is_file(), name
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
    assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("page.js", "text/javascript"), ("page.css", "text/css"), ("kiln.svg", "image/svg+xml")],
)
def test_the_pages_own_files_are_asked_for_again_and_answered_shortly(client, name, content_type):
    first = fetch(client, f"/pages/{name}")
    assert first.mimetype == content_type
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert fetch(client, f"/pages/{name}", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_swagger_ui_is_gzipped_and_kept_for_a_year(client):
    plain = client.get("/docs/swagger-ui.css")
    packed = client.get("/docs/swagger-ui.css", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    for response in (plain, packed):
        assert response.mimetype == "text/css"
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/docs/index.html", "/docs/LICENSE", "/pages/none.js", "/pages/../blueprint.py"])
def test_no_other_files_are_given_out(client, path):
    response = client.get(path)
    assert response.status_code == 404
    assert "error" in response.json
