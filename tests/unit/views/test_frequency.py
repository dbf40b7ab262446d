import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.views.frequency import frequency


@pytest.mark.parametrize(
    ("text", "hertz"),
    [("1GHz", 1e9), ("2.5 MHz", 2.5e6), ("250kHz", 2.5e5), ("7Hz", 7), ("1e9", 1e9), (" 40000 ", 4e4)],
)
def test_a_frequency_is_read_as_people_write_it(text: str, hertz: float):
    assert frequency(text) == hertz


@pytest.mark.parametrize(
    "text", ["", "fast", "1 GB", "-1GHz", "0", "0GHz", "1001GHz", "1e99", "nan", "1ghz", "1G"]
)
def test_what_is_no_frequency_is_refused_in_one_sentence(text: str):
    with pytest.raises(ConfigurationError, match=r"is no clock: write it as 1GHz"):
        frequency(text)
