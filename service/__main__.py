"""`python -m service` starts the service: checks settings and port, then runs its processes."""

import argparse
import os
import socket
import sys

from service import VERSION
from service.errors import InvalidSettings
from service.process_setup import set_up_logging
from service.processes.supervisor import supervise
from service.settings import Settings, describe_variables

WRONG_USE = 2


def main() -> int:
    """Starts the service.

    Returns:
        2 where it cannot start, 0 after SIGTERM and after --check-port, 1 where HTTP could not be served.
    """
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serves the models of a model repository over HTTP. Environment variables set it up:",
        epilog=describe_variables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"Kiln {VERSION}")
    parser.add_argument(
        "--check-port", action="store_true", help="only check the settings and whether the port can be listened on"
    )
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env(os.environ)
    except InvalidSettings as error:
        return refuse(str(error))
    ports = {"KILN_PORT": settings.port, "KILN_ADMIN_PORT": settings.admin_port, "KILN_GRPC_PORT": settings.grpc_port}
    for name, port in ports.items():
        obstacle = check_port(settings.host, port, name) if port else ""
        if obstacle:
            return refuse(obstacle)
    if arguments.check_port:
        return 0
    set_up_logging(settings)
    try:
        return supervise(settings)
    except InvalidSettings as error:
        return refuse(str(error))


def refuse(sentence: str) -> int:
    """Says why the service does not start."""
    sys.stderr.write(f"{sentence}\n")
    return WRONG_USE


def check_port(host: str, port: int, name: str) -> str:
    """Why the address cannot be listened on, or ""; gunicorn would try for five seconds and then say less.

    Args:
        host: the address.
        port: its port.
        name: the variable that gives the port.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return (
            f"Cannot listen on {host} port {port}: {error.strerror}. "
            f"Set {name} (or KILN_HOST) to another one, e.g. {name}=8081."
        )
    return ""


if __name__ == "__main__":
    sys.exit(main())
