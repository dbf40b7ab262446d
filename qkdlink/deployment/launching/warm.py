"""Imported for its effect: every kernel that a block needs is loaded, here and in all processes forked from here."""

from qkdlink.deployment.launching.kernel_use import STEPS

for _step in STEPS.values():
    _step()
