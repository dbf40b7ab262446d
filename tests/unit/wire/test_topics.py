from common.wire.topics import Topics


def test_every_topic_of_a_link_has_one_kind_of_writer():
    topics = Topics("link-1")
    assert topics.light("alice") == "qkd/link-1/light/alice"
    assert topics.receipts("bob") == "qkd/link-1/receipts/bob"
    assert topics.journal("bob") == "qkd/link-1/journal/bob"
    assert len({topics.light("bob"), topics.receipts("bob"), topics.journal("bob")}) == 3


def test_two_links_on_one_broker_share_no_topic():
    one, other = Topics("one"), Topics("other")
    assert {one.light("alice"), one.receipts("bob")}.isdisjoint({other.light("alice"), other.receipts("bob")})
