"""How the tests' own servers differ from everybody's."""

UNTENDED = {"fsync": "off", "autovacuum_naptime": "1h"}
"""PostgreSQL leaves it to the kernel when its pages reach the disk. Tests kill processes, never the machine, and what a killed
server has written the kernel keeps; a thousand databases that are synced at the end cost half a minute. Nor are databases that
live for a minute, each of over a thousand tables, looked through again and again for something to vacuum."""
