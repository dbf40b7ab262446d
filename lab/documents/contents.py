"""Which passage of the documents is written by what."""

from lab.documents import epochs, examples, key_examples, pictures, scenario_table, secrecy_table, tables
from lab.documents.passages import Generators

GENERATORS: Generators = {
    "block-phases": tables.block_phases,
    "link-phases": tables.link_phases,
    "block-picture": pictures.block_picture,
    "abort-picture": pictures.abort_picture,
    "meeting-picture": epochs.meeting_picture,
    "epoch-picture": epochs.epoch_picture,
    "epoch-limits": epochs.epoch_limits,
    "cut-rule": epochs.cut_rule,
    "key-labels": key_examples.key_labels,
    "messages": tables.messages,
    "journal-events": tables.journal_events,
    "link-parameters": tables.link_parameters,
    "node-settings": tables.node_settings,
    "presets": tables.presets,
    "protocols": tables.protocols,
    "limits": tables.limits,
    "scenarios": scenario_table.scenario_table,
    "secrecy": secrecy_table.secrecy_table,
    "packages": tables.packages,
    "example-message": examples.message_frame,
    "example-attachments": examples.attachments,
    "example-light-header": examples.light_header,
    "example-receipt": examples.receipt,
    "example-checkpoint": examples.checkpoint,
    "example-keys": key_examples.derived_keys,
    "example-hmac-checkpoint": key_examples.hmac_checkpoint,
    "example-gmac-checkpoint": key_examples.gmac_checkpoint,
    "example-wegman-carter-checkpoints": key_examples.wegman_carter_checkpoints,
    "example-signed-checkpoint": key_examples.signed_checkpoint,
    "example-claim": key_examples.pending_claim,
    "example-distillation": examples.distillation,
}
