from qkdlink.common.wire.topics import Topics


def test_every_leg_of_light_has_topics_of_its_own_below_the_site_that_writes_them():
    topics = Topics("link-1")
    assert topics.light("alice", "bob") == "qkd/link-1/alice/light/bob"
    assert topics.light("alice", "eve") == "qkd/link-1/alice/light/eve"
    assert topics.receipts("bob", "alice") == "qkd/link-1/bob/receipts/alice"
    assert topics.journal("bob") == "qkd/link-1/bob/journal"


def test_two_links_on_one_broker_share_no_topic():
    one, other = Topics("one"), Topics("other")
    assert {one.light("a", "b"), one.receipts("b", "a")}.isdisjoint(
        {other.light("a", "b"), other.receipts("b", "a")}
    )
