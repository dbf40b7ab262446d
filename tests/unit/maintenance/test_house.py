"""The drawing of the house, and what it says: arrows go down, and the product needs no laboratory."""

import pytest

from maintenance.documents import house
from maintenance.documents.house import House, Room, drawing, houses
from tests.support.source import files

PRODUCT = {"deployment", "views", "alice", "bob", "eve", "common"}


def named(name: str) -> House:
    return next(each for each in houses() if each.name == name)


@pytest.mark.parametrize("drawn", houses(), ids=lambda each: each.name)
def test_every_arrow_goes_to_a_lower_floor(drawn: House):
    floors = {room.name: room.floor for room in drawn.rooms}
    assert [
        (room.name, other) for room in drawn.rooms for other in room.imports if floors[other] >= room.floor
    ] == []


def test_the_product_needs_no_laboratory():
    rooms = {room.name: room for room in named("qkdlink").rooms}
    assert set(rooms) >= PRODUCT
    assert [name for name in PRODUCT if "lab" in rooms[name].imports] == []


def test_imports_are_found_wherever_they_stand_and_every_file_is_in_a_room():
    rooms = {room.name: room for room in named("qkdlink").rooms}
    assert "lab" in rooms["commands"].imports  # in functions only
    assert "eve" in rooms["deployment"].imports
    assert rooms["common"].files == len(files("common"))
    assert (
        sum(room.files for room in rooms.values())
        == len(files("alice", "bob", "eve", "common", "qkdlink")) - 1
    )


def test_a_new_import_changes_the_drawing(monkeypatch: pytest.MonkeyPatch):
    before = drawing()
    changed = tuple(
        House(each.name, (*each.rooms[:-1], Room("common", 1, 1, 1, ("lab",))))
        if each.name == "qkdlink"
        else each
        for each in houses()
    )
    monkeypatch.setattr(house, "houses", lambda: changed)
    assert drawing() != before
