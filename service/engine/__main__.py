"""`python -m service.engine`: the process that runs the models; the supervisor starts it."""

import faulthandler
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from service.engine.ipc.catalog_file import CatalogFile
from service.engine.ipc.client import SOCKET
from service.engine.ipc.server import Host, Server
from service.engine.ipc.shared_memory import PERIOD_SECONDS, Heartbeat
from service.engine.isolation.crash_log import CRASH_FILE
from service.engine.resources import be_killed_first, count_cpus
from service.errors import ServiceError
from service.metrics import FOLDER_VARIABLE
from service.process_setup import end_when_a_thread_fails, end_with_parent, prefer_throughput, set_up_logging
from service.settings import Settings

# Threads that listen beside those that run models; see `Server`.
LISTENING = 1
# How long a thread may keep Python's lock from the others while it only loads or describes a model.
SWITCH_SECONDS = 0.0005
# Where memory runs out, the system ends the engine rather than the processes that answer clients.
TO_BE_KILLED = 500
# How long calls that are running at SIGTERM may go on.
FINISH_SECONDS = 4.0


def main() -> int:
    """Runs the engine until it is told to stop.

    Returns:
        0 after SIGTERM, 2 where it cannot start.
    """
    end_with_parent(signal.SIGKILL)
    prefer_throughput()
    be_killed_first(TO_BE_KILLED)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sys.setswitchinterval(SWITCH_SECONDS)
    settings = Settings.from_env(os.environ)
    set_up_logging(settings)
    end_when_a_thread_fails()
    folder = Path(os.environ[FOLDER_VARIABLE])
    with suppress(OSError):  # a full disk
        # Open as long as the process lives: it is written to when that ends by a signal.
        faulthandler.enable((folder / CRASH_FILE).open("w"))
    calls = max(2, count_cpus())
    catalog_file = CatalogFile(folder)
    try:
        host = create_host(settings, folder, catalog_file, calls)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    server = Server(folder / SOCKET, host, calls + LISTENING, Heartbeat(folder).beat, PERIOD_SECONDS)
    server.start()
    host.start()
    stop.wait()
    if not server.stop(FINISH_SECONDS):
        # A call does not end; nothing else is left to be done.
        os._exit(0)
    host.close()
    server.close()
    return 0


def create_host(settings: Settings, folder: Path, catalog_file: CatalogFile, calls: int) -> Host:
    """What runs the models: this process, or a fleet of TensorFlow Serving's."""
    if settings.tensorflow_serving:
        from service.engine.fleet.host import ForwardingEngine

        return ForwardingEngine(settings, catalog_file.publish)
    from service.engine.local import LocalEngine

    return LocalEngine(settings, folder, catalog_file.publish, calls)


if __name__ == "__main__":
    sys.exit(main())
