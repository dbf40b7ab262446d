"""A secret delivered by hand: drawn for its owner alone, shown nowhere, read strictly, cut by rule."""

import stat
import zlib
from pathlib import Path

import pytest

from qkdlink.cli import main
from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.preshared import LARGEST_BITS, PADS_FROM_BITS, PresharedSecret, create_preshared


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "pre-shared.key"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("bits", [256, 264, PADS_FROM_BITS, LARGEST_BITS])
def test_what_was_drawn_can_be_read_by_its_owner_alone(tmp_path: Path, bits: int) -> None:
    create_preshared(tmp_path / "a.key", bits)
    create_preshared(tmp_path / "b.key", bits)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    secret = PresharedSecret.load(tmp_path / "a.key")
    assert secret.bits == bits
    assert secret.material != PresharedSecret.load(tmp_path / "b.key").material
    assert secret.material.hex()[:16] not in repr(secret)


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    create_preshared(tmp_path / "a.key", 256)
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(CredentialsError, match="exists and is never overwritten"):
        create_preshared(tmp_path / "a.key", 256)
    assert (tmp_path / "a.key").read_bytes() == before


@pytest.mark.parametrize("bits", [-8, 0, 128, 255, 257, 263, LARGEST_BITS + 8])
def test_a_length_that_will_not_do_is_refused_and_nothing_is_written(tmp_path: Path, bits: int) -> None:
    with pytest.raises(CredentialsError, match="bits"):
        create_preshared(tmp_path / "a.key", bits)
    assert not list(tmp_path.iterdir())


def test_a_file_may_be_written_by_another_hand_in_hexadecimal(tmp_path: Path) -> None:
    secret = PresharedSecret.load(written(tmp_path, "5E " * 31 + "\n5e\n"))
    assert secret.material == b"\x5e" * 32


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("5e" * 32, 0o604, r"is open to others \(mode 0604\)"),
        ("5e" * 32, 0o660, r"is open to others \(mode 0660\)"),
        ("", 0o600, "holds 0 bits, but a pre-shared key has 256 to"),
        ("5e" * 31, 0o600, "holds 248 bits"),
        ("5e" * 31 + "5", 0o600, "is not in hexadecimal"),
        ("5g" * 32, 0o600, "is not in hexadecimal"),
        ("\u0665e" * 32, 0o600, "is not in hexadecimal"),
        ("5e" * (LARGEST_BITS // 8 + 1), 0o600, f"holds {LARGEST_BITS + 8} bits"),
        (" " * LARGEST_BITS, 0o600, "is too long"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence_that_quotes_nothing_of_it(
    tmp_path: Path, text: str, mode: int, sentence: str
) -> None:
    file = written(tmp_path, text, mode)
    with pytest.raises(CredentialsError, match=f"^{file} {sentence}") as caught:
        PresharedSecret.load(file)
    assert caught.value.__cause__ is None, "the cause would quote the file under --verbose"
    assert "5e5e" not in str(caught.value)


def made(folder: Path, bits: int = PADS_FROM_BITS) -> tuple[Path, str]:
    file = folder / "made.key"
    create_preshared(file, bits)
    return file, file.read_text()


def test_the_first_line_of_a_file_is_its_checksum_and_spaces_and_capitals_do_not_matter(
    tmp_path: Path,
) -> None:
    file, text = made(tmp_path)
    secret = PresharedSecret.load(file)
    assert text.startswith(f"crc32 {zlib.crc32(secret.material):08x}\n{secret.material.hex()[:64]}\n")
    assert PresharedSecret.load(written(tmp_path, text.upper().replace("\n", "\r\n\r\n "))) == secret


@pytest.mark.parametrize("place", [0, 63, 64, 400, -1])
def test_a_digit_that_was_mistyped_is_told_wherever_it_is(tmp_path: Path, place: int) -> None:
    _, text = made(tmp_path)
    head, digits = text.split("\n", 1)
    at = [index for index, each in enumerate(digits) if each != "\n"][place]
    mistyped = f"{digits[:at]}{'0123456789abcdef'[int(digits[at], 16) ^ 1]}{digits[at + 1 :]}"
    for wrong in (f"{head}\n{mistyped}", f"crc32 {int(head[6:], 16) ^ 1:08x}\n{digits}"):
        file = written(tmp_path, wrong)
        with pytest.raises(
            CredentialsError, match=f"^{file} is not what was made: .* copy it again"
        ) as caught:
            PresharedSecret.load(file)
        assert digits[:16] not in str(caught.value)


@pytest.mark.parametrize("lines", [5, 12, -1])
def test_a_file_that_was_cut_short_is_told_although_what_is_left_is_long_enough(
    tmp_path: Path, lines: int
) -> None:
    _, text = made(tmp_path)
    kept = "".join(text.splitlines(keepends=True)[:lines])
    with pytest.raises(CredentialsError, match=r"is not what was made: .* cut short"):
        PresharedSecret.load(written(tmp_path, kept))
    with pytest.raises(CredentialsError, match="is not in hexadecimal, or not in whole bytes: copy it again"):
        PresharedSecret.load(written(tmp_path, kept[:-2]))


@pytest.mark.parametrize("head", ["crc32 ", "crc32 5e5e5e5\n", "crc32 5e5e5e5e", "crc 5e5e5e5e\n", "# "])
def test_a_checksum_that_is_none_is_not_read_past(tmp_path: Path, head: str) -> None:
    with pytest.raises(CredentialsError, match="is not in hexadecimal"):
        PresharedSecret.load(written(tmp_path, head + "5e" * 32))


def test_a_file_that_is_missing_or_a_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        CredentialsError, match="does not exist: make a pre-shared key with `qkdlink psk new`"
    ):
        PresharedSecret.load(tmp_path / "none.key")
    with pytest.raises(CredentialsError, match="cannot read"):
        PresharedSecret.load(tmp_path)


def test_pads_come_after_the_key_halved_in_whole_units_and_only_if_there_are_enough() -> None:
    material = bytes(index % 251 for index in range(PADS_FROM_BITS // 8 + 65))
    secret = PresharedSecret(material)
    assert secret.key == material[:32]
    assert secret.pads == (material[32 : 32 + 224], material[32 + 224 : 32 + 448])
    assert PresharedSecret(material[: PADS_FROM_BITS // 8]).pads == (material[32:224], material[224:416])
    assert PresharedSecret(material[: PADS_FROM_BITS // 8 - 1]).pads is None


def test_the_command_makes_a_file_and_shows_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.key"
    for bits, status in ((4096, 0), (4096, 2), (100, 2)):
        with pytest.raises(SystemExit) as ended:
            main(["psk", "new", "--bits", str(bits), "--out", str(file)])
        assert ended.value.code == status
    said = capsys.readouterr()
    secret = PresharedSecret.load(file)
    assert secret.bits == 4096
    digits = secret.material.hex()
    assert not any(digits[start : start + 16] in said.out + said.err for start in range(0, len(digits), 16))
    assert said.err.count("\n") == 2


def test_a_byte_order_mark_before_it_is_read_past(tmp_path: Path) -> None:
    create_preshared(tmp_path / "a.key", 256)
    marked = written(tmp_path, "\ufeff" + (tmp_path / "a.key").read_text())
    assert PresharedSecret.load(marked).material == PresharedSecret.load(tmp_path / "a.key").material
