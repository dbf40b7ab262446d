"""The documents agree with the code; that their worked examples agree with them is in `test_worked_examples`."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest

from maintenance.documents.__main__ import main
from maintenance.documents.contents import GENERATORS
from maintenance.documents.epochs import meeting_picture
from maintenance.documents.passages import documents, passages, renewed
from maintenance.documents.pictures import block_picture
from maintenance.documents.tables import packages
from qkdlink.alice.settings import AliceSettings
from qkdlink.commands.init import Places, init
from qkdlink.commands.keyrate import keyrate
from qkdlink.commands.keys import Outlook
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import BlockEnded, EpochBegan
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.derivation import Label
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.phases import BLOCK_TABLE, LINK_TABLE, BlockPhase, LinkPhase, Move, Phase
from qkdlink.common.store.ledger import Balance
from qkdlink.common.wire.messages import MESSAGE_TYPES, Abort, Goodbye
from qkdlink.common.wire.pulse_frames import FrameFault
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.diagnosis.causes import Obstacle
from qkdlink.deployment.homes.link_options import LinkOptions
from qkdlink.deployment.launching import link_result

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text("utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")
WIRE = (ROOT / "docs" / "wire-format.md").read_text("utf-8")
KEYS = (ROOT / "docs" / "keys.md").read_text("utf-8")

COURSE = list(BlockPhase)[: list(BlockPhase).index(BlockPhase.CONFIRMED)]


def passage(text: str, name: str) -> str:
    return text.partition(f"<!-- generated: {name} -->\n")[2].partition("\n<!-- end -->")[0]


class TestGeneratedPassages:
    """That no passage has drifted from the code is a part of `make check`."""

    def test_every_generator_writes_a_passage_somewhere(self):
        written = [name for path in documents(ROOT) for name in passages(path.read_text("utf-8"))]
        assert sorted(written) == sorted(GENERATORS)

    def test_only_what_stands_between_the_comments_is_replaced(self):
        text = "before\n<!-- generated: it -->\nold\n<!-- end -->\nafter <!-- end -->\n"
        assert renewed(text, {"it": lambda: "new\nlines"}) == text.replace("old", "new\nlines")

    def test_a_passage_that_nothing_writes_is_an_error(self):
        with pytest.raises(ConfigurationError, match="nothing writes the passage 'it'"):
            renewed("<!-- generated: it -->\n<!-- end -->", {})

    def test_check_names_a_drifted_document_and_changes_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        (tmp_path / "docs").mkdir()
        drifted = "<!-- generated: example-receipt -->\n<!-- end -->"
        (tmp_path / "README.md").write_text(drifted, "utf-8")
        (tmp_path / "docs" / "clean.md").write_text("nothing generated", "utf-8")
        assert main(["--check"], tmp_path) == 1
        assert capsys.readouterr().err == (
            "README.md has drifted from the code: run python -m maintenance.documents\n"
        )
        assert (tmp_path / "README.md").read_text("utf-8") == drifted

    def test_without_check_a_drifted_document_is_written_anew(self, tmp_path: Path):
        (tmp_path / "README.md").write_text("<!-- generated: example-receipt -->\n<!-- end -->", "utf-8")
        assert main([], tmp_path) == 0
        assert main(["--check"], tmp_path) == 0
        assert "```text\n0000  " in (tmp_path / "README.md").read_text("utf-8")


class TestTablesAndPictures:
    def test_the_table_of_phases_has_every_row_of_the_code(self):
        rows = passage(PROTOCOL, "block-phases").splitlines()
        for (phase, move), following in BLOCK_TABLE.items():
            name = move.message.model_fields["type"].default
            beginning = f"| `{phase}` | {move.speaker.label} | "
            says, aborts = f"{beginning}`{name}` | `{following}` |", f"| to `{following}` |"
            assert any(row.startswith(says) or (row.startswith(beginning) and aborts in row) for row in rows)

    def test_the_table_of_the_link_has_every_row_of_the_code(self):
        assert len(passage(PROTOCOL, "link-phases").splitlines()) == 2 + len(LINK_TABLE)

    def test_the_picture_of_a_meeting_has_every_phase_on_the_way_to_blocks(self):
        arrows = [line.split() for line in meeting_picture().splitlines() if "->" in line or "<-" in line]
        way = {
            (str(phase), move.speaker.label, move.message.model_fields["type"].default)
            for phase, move in LINK_TABLE
            if phase is not LinkPhase.ESTABLISHED and move.message is not Goodbye
        }
        assert {
            (phase, "Alice", one) if other.endswith(">") else (phase, "Bob", other)
            for phase, one, other in arrows
        } == way

    def test_every_purpose_of_a_part_is_in_the_rule_of_the_cut(self):
        assert re.findall(r"^\| `([a-z-]+)` \|", passage(KEYS, "cut-rule"), re.MULTILINE) == list(Purpose)

    def test_every_label_of_a_derived_key_is_explained_and_shown_with_its_fields(self):
        for label in Label:
            assert f"| `{label}` |" in passage(KEYS, "key-labels")
            assert re.search(rf"^    [a-zA-Z ]+ {label}\|", KEYS, re.MULTILINE)

    def test_the_picture_has_each_message_of_a_block_once(self):
        course = [
            row
            for row, following in BLOCK_TABLE.items()
            if following not in (BlockPhase.ALICE_ABORTS, BlockPhase.BOB_ABORTS) and row[0] in COURSE
        ]
        arrows = [line for line in block_picture().splitlines() if "->" in line or "<-" in line]
        assert len(arrows) == len(course)
        assert [("->" in arrow) for arrow in arrows] == [
            row[1].speaker.label == "Alice" for row in sorted(course, key=_place_in_a_block)
        ]

    def test_the_picture_marks_where_a_block_may_be_aborted(self):
        marked = {line.split()[0] for line in block_picture().splitlines() if " *  " in line}
        assert marked == {
            str(phase) for phase, move in BLOCK_TABLE if move.message is Abort and phase in COURSE
        }

    def test_every_message_is_in_the_table_of_messages(self):
        said = passage(PROTOCOL, "messages")
        for kind in MESSAGE_TYPES:
            row = next(
                line
                for line in said.splitlines()
                if line.startswith(f"| `{kind.model_fields['type'].default}` |")
            )
            assert all(f"`{name}`" in row for name in kind.model_fields if name != "type")

    def test_every_package_is_on_a_floor(self):
        inner = ("qkdlink", "qkdlink/common", "qkdlink/deployment", "qkdlink/lab")
        here = {
            ".".join(path.parent.relative_to(ROOT).parts)
            for folder in inner
            for path in (ROOT / folder).glob("*/__init__.py")
        }
        named = set(re.findall(r"^\| `([a-z_.]+)` \|", packages(), re.MULTILINE))
        assert named == here | {"maintenance", "qkdlink"}

    def test_every_row_of_the_settings_says_what_it_means(self):
        for text, name in ((README, "node-settings"), (PROTOCOL, "link-parameters")):
            assert not re.search(r"\|  \|$", passage(text, name), re.MULTILINE)

    def test_every_reason_of_an_abort_is_explained(self):
        assert all(f"| `{reason}` |" in PROTOCOL for reason in AbortReason)

    def test_every_fault_of_light_is_explained(self):
        assert all(f"| `{fault}` |" in PROTOCOL for fault in FrameFault)

    def test_the_topics_are_those_of_the_code(self):
        topics = Topics("<link>")
        for topic in (
            topics.light("<site>", "<site>"),
            topics.receipts("<site>", "<site>"),
            topics.journal("<site>"),
        ):
            assert f"| `{topic}` |" in WIRE

    def test_links_between_documents_lead_somewhere(self):
        for path in (*documents(ROOT), *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md"))):
            for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", path.read_text("utf-8")):
                linked = (path.parent / target) if target else path
                assert linked.exists(), (path.name, target)
                assert not anchor or anchor in _anchors(linked), (path.name, target, anchor)


def _place_in_a_block(row: tuple[Phase, Move]) -> float:
    """Phases in order; of two messages that may be said in one, the one that loops back comes first."""
    phases = list(BlockPhase)
    following = BLOCK_TABLE[row]
    reconciling_ends = row[0] is BlockPhase.RECONCILING and following is BlockPhase.CORRECTED
    return phases.index(BlockPhase.PARITIES_ASKED) + 0.5 if reconciling_ends else phases.index(row[0])


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TestTheReadme:
    def test_its_object_of_a_demo_has_the_fields_of_the_contract(self):
        example = json.loads(README.partition("```json\n")[2].partition("```")[0])
        assert set(example) == {
            "keys_equal", "secret_bits", "fingerprint_alice", "fingerprint_bob", "broker", "processes", "seconds",
            "blocks", "epochs", "bootstrap", "unauthenticated", "ledger",
        }  # fmt: skip
        assert set(example["blocks"][0]) == _fields_of_a_block()
        fields = {"epoch", "authenticated_by", "tls_version", "key_id"}
        assert all(set(each) == fields <= set(EpochBegan.model_fields) for each in example["epochs"])
        assert {each["authenticated_by"] for each in example["epochs"]} == {"mutual-tls", "tls-psk"}

    def test_its_object_of_a_store_has_the_fields_of_the_contract(self):
        example = json.loads(README.partition("link-home/sites/site-a --json\n")[2].partition("\n")[0])
        told = [each.name for kind in (Balance, Outlook) for each in dataclasses.fields(kind)]
        assert sorted(example) == sorted([*told, "net_gain_per_block"])
        spent = {purpose.removesuffix(" (burnt)") for purpose in example["spent"]}
        assert spent <= set(Purpose)
        unused = example["produced_bits"] - sum(example["spent"].values()) - example["available_bits"]
        assert 0 <= unused <= 7 * 4  # four blocks, up to seven bits each behind the last whole byte

    def test_its_node_configuration_is_what_init_writes(self, tmp_path: Path):
        text = README.partition("link-1/node.toml` is")[2].partition("```toml\n")[2].partition("```")[0]
        places = Places("127.0.0.1:8883", "127.0.0.1:7000", None, (), ())
        init(
            tmp_path / "my-link",
            places,
            LinkOptions("metropolitan", None, "single-photon", 250_000, None, None, "pki", "wegman-carter"),
        )
        written = tomllib.loads((tmp_path / "my-link/sites/site-a/links/link-1/node.toml").read_text("utf-8"))
        assert _rounded(tomllib.loads(text)) == _rounded(written)
        assert AliceSettings.model_validate(written).node == "alice"

    def test_everything_that_the_doctor_may_find_is_explained(self):
        what_to_do = (ROOT / "docs" / "two-machines.md").read_text("utf-8").partition("| in the way |")[2]
        assert all(f"\n| {obstacle} |" in what_to_do for obstacle in Obstacle)

    def test_its_example_of_the_calculator_gives_the_printed_numbers(self):
        block = README.partition("$ cat block.json\n")[2].partition("$ ")[0]
        printed = json.loads(README.partition("block.json --json\n")[2].partition("\n")[0])
        assert keyrate(block).model_dump() == printed

    def test_its_parameters_are_those_of_a_link(self):
        toml = README.partition("```toml\n")[2].partition("```")[0]
        assert LinkParameters.model_validate(tomllib.loads(toml)["parameters"]).protocol == "single-photon"


def _rounded(value: object) -> object:
    """The same values to nine digits: the planner's last ones may depend on the processor."""
    match value:
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case float():
            return float(f"{value:.9g}")
        case _:
            return value


def _fields_of_a_block() -> set[str]:
    given = dict.fromkeys(BlockEnded.model_fields, None) | {"type": "block-ended"}
    return set(link_result._block(BlockEnded.model_construct(**given)))
