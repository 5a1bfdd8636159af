"""Jobs that are asked for over HTTP and do their work beside the lane."""

import msgspec


class JobDone(msgspec.Struct, frozen=True):
    """What a job came to: the answer that is kept under the key of the call that asked for it."""

    status: int
    body: bytes
