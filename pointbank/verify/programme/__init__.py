"""The programme document, read a second time: what its rules make of a bill. Nothing here reads a database."""
