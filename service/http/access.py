"""Which scope a route needs, checked before its view runs.

Probes, the pages and the OpenAPI document are open: the page must load before it can ask for a token. So are `OPTIONS`
requests, by which browsers ask beforehand and without a token. Every other path needs scope `predict`, those that lead
nowhere included.
"""

import re
from collections.abc import Mapping
from typing import Any

from service.auth import ADMIN, METRICS, PREDICT, Access, is_loopback

OPEN = "open"
# By endpoint; every other one needs `predict`.
SCOPES = {
    "open_inference.load_model": ADMIN,
    "open_inference.unload_model": ADMIN,
    "tensorflow_serving.set_label": ADMIN,
    "tensorflow_serving.remove_label": ADMIN,
    "health.metrics": METRICS,
    "health.live": OPEN,
    "health.ready": OPEN,
    "pages.index": OPEN,
    "pages.docs": OPEN,
    "pages.swagger_file": OPEN,
    "pages.openapi": OPEN,
    "pages.static": OPEN,
}
# A proxy on this machine adds one of these to what it passes on from elsewhere.
PROXY_HEADERS = frozenset(
    {
        "HTTP_FORWARDED",
        "HTTP_VIA",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_REAL_IP",
    }
)


class Authorizer:
    """Authorizes requests before their views run.

    Args:
        access: who may do what.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def authorize(self, endpoint: str, environ: Mapping[str, Any]) -> None:
        """Lets a request pass, or not.

        Args:
            endpoint: the route's; "" where there is none.
            environ: the WSGI request.

        Raises:
            Unauthorized: it needs a token.
            Forbidden: its token, or the place that it comes from, does not allow it.
        """
        scope = SCOPES.get(endpoint, PREDICT)
        if scope is OPEN or environ["REQUEST_METHOD"] == "OPTIONS":
            return
        is_local = scope is ADMIN and is_from_loopback(environ)
        self._access.check(scope, environ.get("HTTP_AUTHORIZATION"), from_loopback=is_local)


def is_from_loopback(environ: Mapping[str, Any]) -> bool:
    """Whether a program on this machine asks directly, and not a proxy or a web page of another site for somebody else.

    Args:
        environ: the WSGI request.
    """
    if not is_loopback(environ.get("REMOTE_ADDR", "")) or not PROXY_HEADERS.isdisjoint(environ):
        return False
    host = environ.get("HTTP_HOST", "")
    # A page of another site can have a browser on this machine send requests here, even under a name of its own.
    is_own_page = environ.get("HTTP_ORIGIN", f"http://{host}") == f"http://{host}"
    name = re.sub(r":[0-9]*$", "", host).strip("[]")
    return is_own_page and (name == "localhost" or is_loopback(name))
