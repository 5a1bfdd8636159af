"""What keeps a gateway from being made. Apart from the rest, for the command line to know it without loading the services."""

from __future__ import annotations


class CannotBuild(Exception):
    """What was given can't be a gateway; the message says what to change."""
