"""Two columns: both parties live the same seven stages, and nobody but the table asks who is who."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import qkdlink.alice.steps
import qkdlink.bob.steps
from tests.support.source import tree, where

HELPERS = {"_answer", "_ask"}
"""Parts of a stage that have a name of their own."""

STAGES = ["transmit", "sift", "estimate_errors", "reconcile", "verify", "amplify", "confirm"]
COLUMNS = {"alice": qkdlink.alice.steps, "bob": qkdlink.bob.steps}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_defines_the_seven_stages_in_order_and_nothing_else_that_can_be_called(column: str):
    public = [
        node.name
        for node in tree(_file(COLUMNS[column])).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]
    assert public == ["distil", *STAGES]


@pytest.mark.parametrize("column", COLUMNS)
def test_distil_calls_the_seven_stages_in_order(column: str):
    distil = ast.parse(inspect.getsource(COLUMNS[column].distil))
    called = [node.func.id for node in _calls(distil) if isinstance(node.func, ast.Name)]
    assert called == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_hands_the_same_type_on_in_both_columns(stage: str):
    results = {inspect.signature(getattr(column, stage)).return_annotation for column in COLUMNS.values()}
    if stage == "transmit":
        assert {result.__name__ for result in results} == {"PreparationRecord", "DetectionRecord"}
    else:
        assert len(results) == 1


def test_each_column_tells_its_stages_by_the_same_words():
    for column in COLUMNS.values():
        told = [
            node.args[0].value
            for node in _calls(tree(_file(column)))
            if ast.unparse(node.func) == "block.reached" and isinstance(node.args[0], ast.Constant)
        ]
        assert told == [stage.removesuffix("_errors") for stage in STAGES]


def test_the_steps_await_only_the_conversation_and_the_computing_and_the_apparatus_and_the_deposit():
    for column in COLUMNS.values():
        for node in ast.walk(tree(_file(column))):
            if isinstance(node, ast.Await):
                assert isinstance(node.value, ast.Call)
                awaited = ast.unparse(node.value.func).split(".")[0]
                assert awaited in {"block", "transmitter", "receiver", "deposit", *STAGES, *HELPERS}


def test_nobody_but_the_table_asks_which_role_somebody_has():
    asked = where(
        lambda path: [ast.unparse(node) for node in _comparisons(tree(path)) if _names_a_role(node)]
    )
    # the pictures of the table, Eve, and a diagnosis, which looks at a node that does not run
    sees_both_from_outside = ("maintenance/documents/", "eve/", "qkdlink/deployment/diagnosis/")
    assert [file for file in asked if not file.startswith(sees_both_from_outside)] == []


def _comparisons(module: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(module):
        if isinstance(node, ast.Compare):
            yield node
        elif isinstance(node, ast.match_case):
            yield node.pattern


def _names_a_role(comparison: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node) in {"Role.ALICE", "Role.BOB"}
        for node in ast.walk(comparison)
    )


def _calls(module: ast.AST) -> Iterator[ast.Call]:
    calls = (node for node in ast.walk(module) if isinstance(node, ast.Call))
    return iter(sorted(calls, key=lambda call: (call.lineno, call.col_offset)))


def _file(column: ModuleType) -> Path:
    assert column.__file__
    return Path(column.__file__)
