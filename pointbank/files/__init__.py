"""What comes by a file: each row read exactly, told of by its place, and written by the service that keeps it."""
