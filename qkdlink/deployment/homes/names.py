"""How the processes of a link are called that qkdlink sets up: at the broker, in certificates and in journals."""

from collections.abc import Mapping

from qkdlink.common.protocol.roles import Role

ALICE, BOB = (role.word for role in Role)
ROLES: Mapping[str, Role] = {role.word: role for role in Role}
"""Which role a node of this name has: a node is called as its role, and its folder by its site and its link."""
EVE_CONSOLE = "eve-console"
"""Whoever plays Eve from a machine or container of their own; in a home they use her account."""
