from qkdlink.benchmarks import limits


def test_every_limit_is_timed_and_says_what_it_is() -> None:
    found = list(limits.measured(2**16))
    assert [limit.stage for limit in found] == [
        "source-channel-detector",
        "transport",
        "sift",
        "reconcile",
        "amplify",
        "authenticate",
    ]
    assert all(limit.value > 0 and limit.because for limit in found)
