"""What events and their parts have in common: they are frozen and strict, and their text is safe to show."""

from pydantic import BaseModel, ConfigDict, field_validator

from qkdlink.common.printable import printable


def _shown(value: object) -> object:
    match value:
        case str():
            return printable(value)
        case list():
            return [_shown(each) for each in value]
        case tuple():
            return tuple(_shown(each) for each in value)
        case dict():
            return {_shown(name): _shown(each) for name, each in value.items()}
        case _:
            return value


class Told(BaseModel):
    """Anything that a journal holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # not strict, bytes would become text

    @field_validator("*")
    @classmethod
    def _printable(cls, value: object) -> object:
        return _shown(value)


class Event(Told):
    """Common ground of all events."""


class Part(Told):
    """Common ground of what an event is made of, where its fields alone would be too many.

    Tuples in events are not strict: read from JSON, some readers see them as lists.
    """
