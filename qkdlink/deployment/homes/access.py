"""Who is at a link's broker, and what each may read and write there."""

from collections.abc import Mapping

from qkdlink.common.protocol.roles import Role
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers.broker import BrokerUser
from qkdlink.deployment.homes.names import ALICE, BOB, EVE_CONSOLE
from qkdlink.eve.topics import EVE, control_topic


def broker_users(link: str, sites: Mapping[Role, str]) -> tuple[BrokerUser, ...]:
    """Return who is at a link's broker: each writes its own topics and reads what it needs; Eve alone plugs.

    `sites` are the two ends by their roles: topics are named after them, and users after their certificates.

    Each leg of light has one writer and one reader, so that Eve has nothing of light that goes directly.
    """
    topics, alice, bob = Topics(link), sites[Role.ALICE], sites[Role.BOB]
    return (
        BrokerUser(
            ALICE,
            None,
            writes=(topics.light(alice, bob), topics.light(alice, EVE), topics.journal(alice)),
            reads=(topics.receipts(bob, alice), topics.receipts(EVE, alice), topics.patch()),
        ),
        BrokerUser(
            BOB,
            None,
            writes=(topics.receipts(bob, alice), topics.receipts(bob, EVE), topics.journal(bob)),
            reads=(topics.light(alice, bob), topics.light(EVE, bob), topics.patch()),
        ),
        BrokerUser(
            EVE,
            None,
            writes=(
                topics.light(EVE, bob),
                topics.receipts(EVE, alice),
                topics.journal(EVE),
                topics.patch(),
                control_topic(topics),
            ),
            reads=(
                topics.light(alice, EVE),
                topics.receipts(bob, EVE),
                *(topics.journal(site) for site in (alice, bob, EVE)),
                control_topic(topics),
            ),
        ),
        BrokerUser(
            EVE_CONSOLE,
            None,
            writes=(control_topic(topics),),
            reads=tuple(topics.journal(site) for site in (alice, bob, EVE)),
        ),
    )
