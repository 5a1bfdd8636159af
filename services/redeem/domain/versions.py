"""Numbers of versions that are not to be mistaken for one another."""

from typing import NewType

Newest = NewType("Newest", int)
"""The newest version of a programme that is known here, as it was when something was looked for: what counts now. Never the version
that something was sold, set aside or allowed under."""
