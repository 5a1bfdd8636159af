"""How the tests' own servers differ from everybody's."""

UNSYNCED = {"fsync": "off"}
"""PostgreSQL leaves it to the kernel when its pages reach the disk. Tests kill processes, never the machine, and what a killed
server has written the kernel keeps; a thousand databases that are synced at the end cost half a minute."""
