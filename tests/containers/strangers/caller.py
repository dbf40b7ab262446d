"""Calls Bob's classical ports with a certificate and prints how far it gets. Runs in a container."""

import json
import shutil
import socket
import ssl
import sys
import tempfile
from pathlib import Path

from qkdlink.common.transport.connections import ACCEPTED
from qkdlink.common.trust.pki import issue


def call(authority: str, name: str, port: int) -> dict[str, object]:
    """Show Bob a certificate for `name` from the authority in that folder."""
    here = Path(tempfile.mkdtemp())
    folder = here / "stranger"
    shutil.copytree(Path("/link", authority), here / "authority")  # it keeps a record of what it issues
    issue(here / "authority", name, folder)
    context = ssl.create_default_context(cafile="/link/ca/authority.pem")
    context.load_cert_chain(folder / "certificate.pem", folder / "private-key.pem")
    try:
        with (
            socket.create_connection(("bob", port), timeout=5) as line,
            context.wrap_socket(line, server_hostname="bob") as secured,
        ):
            answer = secured.recv(len(ACCEPTED))
    except OSError as error:
        return {"admitted": False, "error": str(error)}
    return {"admitted": answer == ACCEPTED, "error": "" if answer else "Bob closed the line"}


sys.stdout.write(json.dumps(call(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
