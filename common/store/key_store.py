"""The key store: blocks in two phases, parts that are spent once, a ledger that balances, and the bootstrap latch.

Every change is one transaction that is on disk when the method returns (rollback journal, `synchronous = EXTRA`), so
a process killed at any instant leaves either the state before or the state after. Material that is spent, burnt or
discarded is overwritten (`secure_delete`). Here each change is told as a whole; what it does to one kind of thing is in
that thing's file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.errors import ConfigurationError, LocalProtocolError
from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.keys.allotment import (
    APPLICATIONS,
    LINK_PSK_BITS,
    OF_ALICE,
    OF_BOB,
    RESERVE_TARGET_BITS,
    RESERVES,
    TAG_BITS,
    UNIT_BITS,
    Purpose,
    cut,
    upkeep_bits,
)
from qkdlink.common.keys.derivation import resume_proof_key
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.store.blocks import Blocks, NewBlock
from qkdlink.common.store.bootstrap import Bootstrap, Vouched
from qkdlink.common.store.bootstrap_pads import BootstrapPads
from qkdlink.common.store.database import Database
from qkdlink.common.store.epochs import Epoch, Epochs
from qkdlink.common.store.high_water import HighWater
from qkdlink.common.store.ledger import Balance, Ledger
from qkdlink.common.store.levels import Levels
from qkdlink.common.store.opening import STORE_FILE, open_database, told_by
from qkdlink.common.store.owner import StoreOwner
from qkdlink.common.store.parts import Parts
from qkdlink.common.store.pinned_keys import PinnedKeys
from qkdlink.common.store.schema import Entry, State
from qkdlink.common.store.sealing import StoreSeal
from qkdlink.common.store.tag_units import TagUnits


class KeyStore:
    """One node's keys on disk; methods are short and may be called from any thread."""

    def __init__(self, database: Database, seal: StoreSeal, owner: StoreOwner) -> None:
        self._database = database
        self._owner = owner
        self._ledger = Ledger(database)
        self._levels = Levels(database)
        self._blocks = Blocks(database, seal, owner)
        self._parts = Parts(database, seal, owner, self._ledger)
        self._epochs = Epochs(database)
        self._pinned = PinnedKeys(database, seal)
        self._high_water = HighWater(database)
        with database.reading():
            self._bootstrap = Bootstrap(database, owner.node)
        self.units = TagUnits(database, seal, owner, self._ledger)
        self.pads = BootstrapPads(database, seal, owner)

    def __repr__(self) -> str:
        return f"KeyStore({self._owner.node}, redacted)"

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Open the store that is in a node's home, whoever's it is; ConfigurationError if there is none."""
        told = told_by(folder / STORE_FILE)
        if not told:
            raise ConfigurationError(
                f"There is no key store in {folder}: name the home of a node that has run."
            )
        owner = StoreOwner(told["link"], told["node"], told["reproducible"] == "1")
        return cls.open(folder, owner)

    @classmethod
    def is_latched(cls, folder: Path) -> bool:
        """Whether a node's home has a store whose latch is closed; nothing is made by asking."""
        return told_by(folder / STORE_FILE).get("latched") == "1"

    @classmethod
    def open(cls, folder: Path, owner: StoreOwner) -> Self:
        """Open the store in a node's home, making it at the first start; ConfigurationError as of `open_database`."""
        database, seal = open_database(folder, owner)
        return cls(database, seal, owner)

    def close(self) -> None:
        """Close the file, once whoever is writing has finished; a cancelled task may have left its thread at it."""
        self._database.close()

    # --- two-phase deposit -------------------------------------------------------------------------------------

    def hold(
        self, block: BlockId, key: SecretKey, leaked_bits: int, *, tags: bool, peer_key: bytes = b""
    ) -> None:
        """Make a block durable as pending; LocalProtocolError if it is here already.

        ConfigurationError if the bootstrap was opened again since this store was: its line rests on the old trust.

        `tags` says whether the key is cut for tags; `peer_key` is the public key that the peer showed in this block,
        to be pinned when it is released, or nothing. The block's proof key, by which it is recognised at the next
        contact while it is pending, is expanded from its link PSK, and outlives it: it tells nothing of the PSK.
        """
        with self._database.transaction():
            self._bootstrap.refuse_old_trust()
            if self._blocks.row(block) is not None:
                raise LocalProtocolError(f"Block {block} has a key already.")
            parts = cut(key.secret_bits, tags=tags, reserve_bits=key.reserve_bits)
            if key.secret_bits < LINK_PSK_BITS:
                raise LocalProtocolError(f"The key of block {block} is too short for a link PSK.")
            new = NewBlock(
                secret_bits=key.secret_bits,
                leaked_bits=leaked_bits,
                proof_key=resume_proof_key(parts[0].of(key.material)),
                peer_key=self._pinned.sealed(peer_key),
                unauthenticated=self._bootstrap.unauthenticated or self._bootstrap.unwatched,
            )
            self._parts.insert(self._blocks.insert(block, new), block, parts, key.material)

    def release(self, block: BlockId) -> bool:
        """Make a pending block available; False if it was available already, LocalProtocolError if it is not here."""
        with self._database.transaction():
            row = self._blocks.release(block)
            if row is None:
                return False
            self._parts.release(row["id"])
            self._ledger.enter_released(row["id"], row["secret_bits"], row["leaked_bits"])
            if block.number < self._epochs.now().number:
                self._parts.destroy_link_psk(row["id"])
            self._pinned.pin(row["peer_key"])
            return True

    def discard(self, block: BlockId) -> None:
        """Forget a pending block that the peer does not have; LocalProtocolError if it is available."""
        with self._database.transaction():
            row = self._blocks.discard(block)
            if row is not None:
                self._parts.discard(row)

    def state(self, block: BlockId) -> State | None:
        """Return the state of a block, None if it was never here."""
        with self._database.reading():
            row = self._blocks.row(block)
        return None if row is None else State(row["state"])

    def secret_bits(self, block: BlockId) -> int:
        """Return the length of a block's key; 0 if it is not here."""
        with self._database.reading():
            row = self._blocks.row(block)
        return 0 if row is None else int(row["secret_bits"])

    def is_unauthenticated(self, block: BlockId) -> bool:
        """Whether no application gets the key of a block, because nobody vouched for it, or watched its light."""
        with self._database.reading():
            row = self._blocks.row(block)
        return row is not None and bool(row["unauthenticated"])

    def pending(self) -> list[BlockId]:
        """Return every pending block, oldest first."""
        with self._database.reading():
            return self._blocks.pending()

    def highest_block(self) -> int:
        """Return the highest block number that this store knows of, 0 if there is none."""
        with self._database.reading():
            return self._high_water.highest_block()

    def unproven_blocks(self, own: tuple[Purpose, ...], peers: tuple[Purpose, ...]) -> int:
        """Count the blocks that cost a unit here since the last one in which the peer has shown a right tag."""
        with self._database.reading():
            return self._high_water.unproven_blocks(own, peers)

    def last_unit_row(self) -> int:
        """Return the row of the unit that was used last, 0 if there is none."""
        with self._database.reading():
            return self._high_water.last_unit_row()

    def marks(self, own: tuple[Purpose, ...], peers: tuple[Purpose, ...]) -> Marks:
        """Return how far this store has come; `own` and `peers` are the parts that each side takes units from."""
        with self._database.reading():
            return Marks(
                highest_block=self._high_water.highest_block(),
                heard_block=self._high_water.heard_block(peers),
                units_taken=self._high_water.units(own),
                units_heard=self._high_water.units(peers),
            )

    def opened(self, number: int) -> None:
        """Remember that a block number has been used."""
        with self._database.transaction():
            self._blocks.opened(number)

    # --- material ----------------------------------------------------------------------------------------------

    def material(self, block: BlockId, purpose: Purpose) -> bytes | None:
        """Return the material of one part while it exists, pending parts included; for the link alone."""
        with self._database.reading():
            return self._parts.material(block, purpose)

    def deliver(self, block: BlockId, purpose: Purpose) -> bytes | None:
        """Hand a part out for its purpose, once: it is spent on disk, and overwritten, before this returns.

        None if the block is not available, or the part was delivered, has expired or was never cut. LocalProtocolError
        for what is the link's own: PSKs, which epochs use and destroy (`begin_epoch`), and tags, taken in units.
        ConfigurationError for what goes back to a bootstrap without authentication: whoever answered may know it.
        """
        if purpose not in APPLICATIONS:
            raise LocalProtocolError(f"{purpose} is for the link alone.")
        with self._database.transaction():
            row = self._blocks.row(block)
            if row is not None and row["unauthenticated"]:
                raise ConfigurationError(
                    f"Block {block} goes back to a bootstrap without authentication, or was made with monitors turned"
                    " off, and no application gets its key: turn them on, choose another trust.anchor, and run `qkdlink"
                    " bootstrap --again` at both ends."
                )
            return self._parts.deliver(block, purpose)

    def expire(self, before: float) -> int:
        """Burn the application parts of blocks released before a time (seconds since 1970); returns how many.

        Link PSKs, tag keys and the reserve never expire: the link would have to go back to its bootstrap.
        """
        with self._database.transaction():
            return self._parts.expire(before)

    def proof_key(self, block: BlockId) -> bytes | None:
        """Return the key that proves to the peer that this block is here."""
        with self._database.reading():
            return self._blocks.proof_key(block)

    def link_psks(self) -> list[BlockId]:
        """Return the blocks whose link PSK may be used, newest first: those after the current epoch's, and that one."""
        with self._database.reading():
            return self._parts.link_psks(self._epochs.now().number)

    def blocks_payable(self) -> int:
        """For how many blocks both sides can pay their tags, as far as this one knows, pads of a bootstrap included."""
        units, pads = self.units, self.pads
        left = min(units.left(parts) + pads.left(parts[0]) for parts in (OF_ALICE, OF_BOB))
        return left // (TAG_BITS // UNIT_BITS)

    def reserve_lacks_bits(self) -> int:
        """Return how many bits would fill the reserve of both sides; the emptier side counts."""
        fullest_common = min(self.units.left((purpose,)) for purpose in RESERVES)
        return max(0, RESERVE_TARGET_BITS - 2 * UNIT_BITS * fullest_common)

    # --- epochs and the latch ----------------------------------------------------------------------------------

    def epoch(self) -> Epoch:
        """Return the epoch that the node is in."""
        with self._database.reading():
            return self._epochs.now()

    def begin_epoch(self, block: BlockId) -> bool:
        """Enter the epoch whose PSK comes from `block`: the latch closes, and every older link PSK is destroyed.

        To be called once both directions have been heard on the new line; repeating it changes nothing.
        False, and no change, if its PSK has been destroyed in the meantime, by a newer epoch or by an operator;
        LocalProtocolError if the block is not available; ConfigurationError if the bootstrap was opened again since
        this store was.
        """
        with self._database.transaction() as connection:
            self._bootstrap.refuse_old_trust()
            if self._epochs.is_of(block):
                return True
            row = self._blocks.row(block)
            if row is None or row["state"] != State.AVAILABLE:
                raise LocalProtocolError(f"Block {block} is not available and cannot begin an epoch.")
            if not self._parts.use_link_psk(row["id"]):
                return False
            self._epochs.enter(block)
            self.pads.burn(connection)
            self._ledger.enter(row["id"], Entry.SPENT, Purpose.LINK_PSK, LINK_PSK_BITS)
            self._parts.destroy_link_psks(before_number=block.number)
            return True

    def reopen_bootstrap(self) -> None:
        """Open the latch: an operator's act, to be done at both ends; the link forgets what it knew the peer by.

        Destroyed are every link PSK, every unit for tags and the pinned keys, those of pending blocks included: whoever
        has got hold of one store knows them, and a peer that has lost its own does not. Whoever has the store open
        besides can neither keep a block any more nor close the latch.
        """
        with self._database.transaction() as connection:
            self._bootstrap.open_again()
            self._epochs.open_latch()
            self._parts.destroy_link_psks()
            self._parts.destroy_tags()
            self.pads.forget(connection)
            self._pinned.forget()
            self._high_water.begin_anew()

    # --- what the keys go back to ------------------------------------------------------------------------------

    def begin_bootstrap(self, anchor: str) -> None:
        """Note that a line of `anchor` is open; not if a block of this bootstrap goes back to an earlier one's.

        ConfigurationError if the bootstrap was opened again since this store was.
        """
        with self._database.transaction():
            self._bootstrap.begin(anchor)

    def vouched(self) -> Vouched:
        """Return which anchor began the bootstrap, and for how many blocks it has vouched until now."""
        with self._database.reading():
            return self._bootstrap.vouched()

    @property
    def anchor(self) -> str:
        """Which anchor began the bootstrap; empty before the first line."""
        with self._database.reading():
            return self._bootstrap.anchor()

    def leave_unwatched(self) -> None:
        """Give no key of this process to applications: monitors that would notice Eve are turned off."""
        self._bootstrap.unwatched = True

    def mark_unauthenticated(self) -> None:
        """Note that a bootstrap without authentication has begun: no application gets a key that goes back to it.

        The store stays marked until an operator opens the latch again; blocks that were made meanwhile, for good.
        """
        with self._database.transaction():
            self._bootstrap.mark()
        self._bootstrap.unauthenticated = True

    @property
    def unauthenticated(self) -> bool:
        """Whether what this process makes goes back to a bootstrap without authentication."""
        return self._bootstrap.unauthenticated

    # --- pinned keys -------------------------------------------------------------------------------------------

    def own_key(self, scheme: str, draw: Callable[[], bytes]) -> bytes:
        """Return this node's private signing key, drawing it at the first use after a bootstrap was opened.

        ConfigurationError if another signature scheme than `scheme` has drawn it: no key serves two.
        """
        with self._database.transaction():
            return self._pinned.own(scheme, draw)

    def peer_key(self) -> bytes:
        """Return the peer's public key that a bootstrap has pinned; empty if there is none."""
        with self._database.reading():
            return self._pinned.peers()

    # --- account -----------------------------------------------------------------------------------------------

    def levels(self) -> KeyLevels:
        """Tell what is here per purpose, from the ledger and from what is stored."""
        tags = self.units.are_cut()
        payable, lacking = (self.blocks_payable(), self.reserve_lacks_bits()) if tags else (None, None)
        with self._database.reading():
            self._levels.catch_up()
            epoch = self._epochs.now()
            return KeyLevels(
                levels=self._levels.per_purpose(),
                produced_bits=self._levels.sum_of(Entry.PRODUCED),
                leaked_bits=self._levels.sum_of(Entry.LEAKED),
                confirmed_blocks=self._levels.confirmed_blocks,
                pending_blocks=self._ledger.blocks(State.PENDING),
                highest_block=self._high_water.highest_block(),
                epoch=epoch.number,
                epoch_since=self._blocks.released_at(epoch.key_id),
                latched=epoch.latched,
                anchor=self._bootstrap.anchor(),
                unauthenticated=self._bootstrap.is_marked(),
                upkeep_bits=upkeep_bits(tags=tags),
                blocks_payable=payable,
                reserve_lacks_bits=lacking,
            )

    def balance(self) -> Balance:
        """Add up the ledger."""
        with self._database.reading():
            return self._ledger.balance(
                self._owner.node, self._epochs.now(), unauthenticated=self._bootstrap.is_marked()
            )
