"""What stands between a node and its link: one check per question, in the order in which a node meets them.

Nothing here changes the state of a node: files are only read, the store is opened read-only, no block number is used,
no epoch begun and no latch closed. What cannot be asked without harm is not asked, and that is said.
"""
