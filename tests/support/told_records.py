"""Records: of a block that a pair has played, and what the journals of a link tell, held against each other."""

from contextlib import closing

from qkdlink.commands.keyrate import keyrate
from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.journal.block_record import MOST_RECORD_BYTES, BlockRecord, RecordedTrust
from qkdlink.common.journal.events import Entry
from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.node.recorder import block_record
from qkdlink.common.protocol.aborts import Aborted, AbortReason
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.ledger import Balance
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.pair import Party
from tests.support.processes import Bench

TRUST = RecordedTrust(
    anchor="pki",
    unauthenticated=False,
    scheme="certificate-signature",
    epoch=0,
    checkpoints=6,
    units_of_alice=0,
    units_of_bob=0,
    tag_bits=0,
    classical_bytes=1,
)


def record_of(party: Party) -> BlockRecord:
    """Return the record of a block without a link; what broke the conversation is an abort, as a link makes it one."""
    match party.outcome:
        case SecretKey(secret_bits=bits):
            outcome: Aborted | int = bits
        case Aborted() as aborted:
            outcome = aborted
        case error:
            outcome = Aborted(AbortReason.PROTOCOL_BROKEN, str(error), by_peer=False)
    return block_record(party.block, outcome, 1.0, 2.0, TRUST)


def assert_all_is_recorded(link: Bench) -> None:
    """Assert that each node has told one record of every block, its length anew, and the levels of its store."""
    for name in (ALICE, BOB):
        journal = link.journal(name)
        records = journal.of(BlockRecord)
        assert [each.block_id for each in records] == list(journal.blocks)
        for record in records:
            ended = journal.blocks[record.block_id]
            assert (record.outcome.secret_bits, record.outcome.aborted) == (ended.secret_bits, ended.aborted)
            assert record.trust.scheme == ended.authenticated_by
            assert record.trust.classical_bytes == ended.classical_bytes
            line = Entry(node=name, time=record.ended, event=record).model_dump_json()
            assert len(line) < MOST_RECORD_BYTES
            if ended.secret_bits:
                assert keyrate(line).secret_bits == ended.secret_bits
        with closing(KeyStore.of(link.home.node(name))) as store:
            balance = store.balance()
        assert Balance.told(name, journal.of(KeyLevels)[-1]) == balance
        assert sum(each.trust.tag_bits for each in records) == balance.authentication_bits
