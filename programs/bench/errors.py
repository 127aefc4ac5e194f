"""The one way in which a contender can fail."""


class Failed(Exception):
    """A contender did not do its part; the text says what went wrong."""
