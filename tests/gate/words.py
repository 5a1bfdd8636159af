"""Words that are SQL, templates, formats, headers, log lines, terminals' orders or paths to somebody careless."""

from __future__ import annotations

CODE_ELSEWHERE = [
    "' OR '1'='1",
    "'; DROP TABLE bills; --",
    "1) UNION SELECT payload FROM outbox --",
    "$1::text; SELECT pg_sleep(5)",
    "\\'; COPY audit TO PROGRAM 'true'; --",
    "{{ 19 * 1369 }}",
    "{% include '/etc/passwd' %}",
    "${jndi:ldap://127.0.0.1/a}",
    "%(asctime)s %s %n",
    "a\r\nX-Injected: 1",
    '"}\n{"level":"info","event":"http","status":200}',
    "\x1b[2J\x1b]0;owned\x07",
    "../../../etc/passwd",
    "*",
]
