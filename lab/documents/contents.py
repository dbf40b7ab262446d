"""Which passage of the documents is written by what."""

from lab.documents import examples, pictures, tables
from lab.documents.passages import Generators

GENERATORS: Generators = {
    "block-phases": tables.block_phases,
    "link-phases": tables.link_phases,
    "block-picture": pictures.block_picture,
    "abort-picture": pictures.abort_picture,
    "messages": tables.messages,
    "journal-events": tables.journal_events,
    "link-parameters": tables.link_parameters,
    "node-settings": tables.node_settings,
    "presets": tables.presets,
    "protocols": tables.protocols,
    "limits": tables.limits,
    "packages": tables.packages,
    "example-message": examples.message_frame,
    "example-attachments": examples.attachments,
    "example-light-header": examples.light_header,
    "example-receipt": examples.receipt,
    "example-checkpoint": examples.checkpoint,
    "example-distillation": examples.distillation,
}
