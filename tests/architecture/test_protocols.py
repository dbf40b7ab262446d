"""Protocols are data: what differs between them stands in their own files, and nobody else asks which one it is."""

import ast
from collections.abc import Iterator

from qkdlink.common.protocol.variants.catalogue import VARIANTS
from tests.support.source import files, imports, name, tree, where

HERE = "common/protocol/variants/"
BELOW = ("qkdlink.common.distillation.", "qkdlink.common.optics.", "qkdlink.common.errors.")


def test_nobody_outside_the_variants_asks_which_protocol_it_is():
    outside = [path for path in files() if not name(path).startswith(HERE)]
    assert where(lambda path: [*_questions(tree(path))], outside) == {}


def test_the_search_finds_every_way_of_asking():
    for text in (
        "protocol is ONE_DECOY",
        "parameters.protocol == TWO_DECOY.name",
        "protocol in {'single-photon'}",
        "LIMITS = {variants.SINGLE_PHOTON: 1}",
        "match protocol:\n  case 'one-decoy': pass",
    ):
        assert [*_questions(ast.parse(text))], text
    assert not [*_questions(ast.parse("statistics is PhotonStatistics.SINGLE_PHOTON"))]


def test_the_variants_stand_below_the_conversation():
    own = "qkdlink.common.protocol.variants."
    for path in files(HERE):
        project = [each for each in imports(path) if each.startswith("qkdlink.")]
        assert [each for each in project if not each.startswith((own, *BELOW))] == []


def _questions(module: ast.AST) -> Iterator[str]:
    for node in ast.walk(module):
        asked = (
            [node.left, *node.comparators]
            if isinstance(node, ast.Compare)
            else [key for key in node.keys if key]
            if isinstance(node, ast.Dict)
            else [node.pattern]
            if isinstance(node, ast.match_case)
            else []
        )
        if any(_is_a_protocol(part) for each in asked for part in ast.walk(each)):
            yield ast.unparse(node)


def _is_a_protocol(node: ast.AST) -> bool:
    constants = {variant.replace("-", "_").upper() for variant in VARIANTS}
    match node:
        case ast.Constant(value=str(value)):
            return value in VARIANTS
        case ast.Name(id=member):
            return member in constants
        case ast.Attribute(value=ast.Name(id=owner), attr=member):
            return member in constants and owner != "PhotonStatistics"
        case _:
            return False
