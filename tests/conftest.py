"""Settings of all tests: no deadline for an example, because the first one may compile a kernel on a busy machine."""

from hypothesis import settings

settings.register_profile("qkdlink", deadline=None)
settings.load_profile("qkdlink")
