"""How a process reaches its broker, from its settings."""

import secrets
from dataclasses import replace
from pathlib import Path

from qkdlink.common.node.settings import ProgramSettings, read_secret_line
from qkdlink.common.transport.apparatus import apparatus_context
from qkdlink.common.transport.mqtt import BrokerAccess

_SECRET_BYTES = 16
"""In a client id: a broker logs out whoever was there under the id of somebody who comes, so nobody may guess it."""


def broker_access(settings: ProgramSettings, process: str, folder: Path) -> BrokerAccess:
    """Return how to reach the broker, and as whom; ConfigurationError or CredentialsError if the files do not do."""
    broker = settings.broker
    password = broker.password_file and read_secret_line(folder / broker.password_file, "broker password")
    return BrokerAccess(
        broker.address,
        broker.client_id or f"{settings.link}-{process}-{secrets.token_hex(_SECRET_BYTES)}",
        broker.username,
        password or None,
        None
        if broker.authority is None
        else apparatus_context(
            folder / broker.authority,
            broker.certificate and folder / broker.certificate,
            broker.private_key and folder / broker.private_key,
        ),
    )


def light_access(settings: ProgramSettings, process: str, folder: Path) -> BrokerAccess:
    """Return how light reaches the broker: a connection beside the other, on which megabytes hold nobody up."""
    access = broker_access(settings, process, folder)
    return replace(access, client_id=f"{access.client_id}-light")
