"""The one error that this package raises on purpose."""


class ProbeError(Exception):
    """A request that cannot be met, in one sentence: what was asked, found, and is allowed.

    The library raises it; the command line prints it and exits with status 2.
    """
