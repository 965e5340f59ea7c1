"""The exit codes. They are a contract: units, scripts and monitors act on them."""

from enum import IntEnum


class Exit(IntEnum):
    """From 64 up these are the codes of sysexits.h; above 128 it is 128 plus the signal's number."""

    OK = 0
    PROBLEMS = 1
    """A check ran to its end and found problems."""
    USAGE = 2
    UNAVAILABLE = 69
    """The hub or the database cannot be reached."""
    BUG = 70
    OS = 71
    """A limit of the operating system: memory, descriptors, processes."""
    CANNOT_CREATE = 73
    IO = 74
    TEMPORARY = 75
    """Trying again later may help."""
    PROTOCOL = 76
    """The hub does not follow the agreed protocol."""
    CREDENTIAL = 77
    CONFIGURATION = 78
    """A setting, a privilege or the database's schema is wrong; a restart cannot help."""
    HUNG_UP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143
