"""gunicorn's own messages in the service's form."""

import logging.config
import os
from typing import Any

from gunicorn.glogging import Logger

from service.logs import logging_configuration
from service.settings import Settings


class GunicornLogger(Logger):
    """Sets up logging for the starter and all workers; requests are logged by the application, with their ids."""

    def setup(self, cfg: Any) -> None:
        """Replaces gunicorn's handlers by the service's."""
        super().setup(cfg)
        settings = Settings.from_env(os.environ)
        logging.config.dictConfig(logging_configuration(settings.log_level, settings.log_format))

    def access(self, *_arguments: Any) -> None:
        """Logs nothing; see `service.http.request_context`."""
