"""Writes Prometheus' rules a second time, as the object that its operator reads in Kubernetes.

    python3 -m deploy.rules                      writes deploy/k8s/prod/rules.yaml

It needs nothing but Python. A test holds the file equal to what is written here.
"""

import sys
from pathlib import Path

RULES = Path(__file__).parent / "prometheus" / "rules"
FILE = Path(__file__).parent / "k8s" / "prod" / "rules.yaml"

HEAD = """# Written by `python3 -m deploy.rules` from deploy/prometheus/rules: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: pointbank
  labels:
    app.kubernetes.io/name: pointbank
    app.kubernetes.io/part-of: pointbank
spec:
  groups:
"""


def text() -> str:
    """The file."""
    lines: list[str] = []
    for name in ("recording.yml", "alerts.yml"):
        _, _, groups = (RULES / name).read_text().partition("\ngroups:\n")
        lines += [f"  {line}" if line.strip() else "" for line in groups.splitlines()]
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Writes it."""
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
