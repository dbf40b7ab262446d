"""Every field of every settings model: a wrong value is one sentence with file, field and what is allowed."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from pydantic import BaseModel

from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import ProgramSettings, load_settings
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.homes.configuration import (
    LinkAddresses,
    Splice,
    eve_configuration,
    node_configuration,
)
from qkdlink.deployment.homes.sites import DEFAULT_SITES
from qkdlink.eve.settings import EveSettings
from tests.support.processes import small_parameters

MODELS: tuple[type[ProgramSettings], ...] = (AliceSettings, BobSettings, EveSettings)
WRONG: tuple[object, ...] = ("?!", -7.5, 10**12, True, [], {"x": 1})
THEIR_OWN = ("Input", "input", "should", "pydantic", "validation", "Value error", "instance of", "type=")


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)


def _fields(model: type[BaseModel], *words: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*words, name)
        inner = _model_in(field.annotation)
        if inner is not None and "ways" not in name:
            yield from _fields(inner, *words, name)


AT = Address("127.0.0.1", 7000)
ADDRESSES, SPLICE = LinkAddresses(AT, AT, AT), Splice(AT, AT)


def _right(model: type[ProgramSettings]) -> dict[str, Any]:
    parameters = small_parameters()
    if model is EveSettings:
        return tomllib.loads(
            eve_configuration("link-1", DEFAULT_SITES, ADDRESSES, SPLICE, {}, parameters, {})
        )
    return tomllib.loads(
        node_configuration("link-1", ("alice", "bob"), DEFAULT_SITES, ADDRESSES, {}, parameters, {})
    )


def _put(values: dict[str, Any], field: tuple[str, ...], value: object) -> dict[str, Any]:
    first, *rest = field
    inner = _put(values.get(first, {}), tuple(rest), value) if rest else value
    return {**values, first: inner}


@pytest.mark.parametrize(
    ("model", "field"), [(model, field) for model in MODELS for field in _fields(model)], ids=str
)
def test_a_wrong_value_is_refused_in_one_sentence_of_our_own(
    model: type[ProgramSettings], field: tuple[str, ...], tmp_path: Path
) -> None:
    file, refused = tmp_path / "node.toml", 0
    for value in WRONG:
        file.write_text(tomli_w.dumps(_put(_right(model), field, value)))
        try:
            load_settings(model, file)
        except ConfigurationError as error:
            said, refused = str(error), refused + 1
            assert str(file) in said
            assert field[0] in said, said
            assert not any(each in said for each in THEIR_OWN), said
    assert refused, f"no value of {WRONG} is wrong for {field}"
