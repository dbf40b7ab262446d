"""What `qkdlink keyrate` is asked to compute the length of a block anew from its record in a journal."""

import json
from collections.abc import Mapping

from pydantic import ValidationError

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.block_record import BlockRecord, RecordedBound

type Block = dict[str, object]
"""The fields of a JSON object."""


def record_in(told: Mapping[str, object]) -> BlockRecord | None:
    """Return the record of a block that a line of a journal holds, or that is told alone; None if it is neither.

    ConfigurationError for a record that is incomplete or does not add up.
    """
    event = told.get("event", told)
    if not isinstance(event, Mapping) or event.get("type") != "block-record":
        return None
    try:
        return BlockRecord.model_validate_json(json.dumps(event))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(
            f"This record of a block is incomplete or altered{where and f', at {where}'}: take it from a journal."
        ) from None


def keyrate_input(record: BlockRecord) -> Block:
    """Return the input of `qkdlink keyrate` for a block; its answer is the block's length to the bit.

    ConfigurationError where this node has not come to the length of the block.
    """
    bound = record.bound
    if bound is None or bound.when != "amplify":
        raise ConfigurationError(
            f"Block {record.number} ended before its length was computed: choose one whose `bound` has `when` amplify."
        )
    test_bits = sum(bound.test_detections)
    if (
        test_bits
        and bound.tolerated_qber is not None
        and sum(bound.test_errors) / test_bits > bound.tolerated_qber
    ):
        raise ConfigurationError(
            f"Block {record.number} makes no key: its test basis shows more errors than are tolerated."
        )
    counts = _errors_per_class(record, bound) if bound.tolerated_qber is None else _tolerated(bound)
    block: Block = {
        "method": bound.method,
        **counts,
        "leaked_bits": bound.leaked_bits,
        "eps_sec": bound.eps_sec,
        "eps_cor": bound.eps_cor,
        "sampling": bound.sampling,
    }
    return block


def _tolerated(bound: RecordedBound) -> Block:
    return {
        "key_bits": sum(bound.key_detections),
        "test_bits": sum(bound.test_detections),
        "tolerated_qber": bound.tolerated_qber,
    }


def _errors_per_class(record: BlockRecord, bound: RecordedBound) -> Block:
    return {
        "intensities": record.parameters.intensities,
        "probabilities": record.parameters.probabilities,
        "key_basis": {"detections": bound.key_detections, "errors": bound.key_errors},
        "test_basis": {"detections": bound.test_detections, "errors": bound.test_errors},
    }
