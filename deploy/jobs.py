"""Writes the CronJobs that do the services' jobs for all tenants: the table below is the one place that says which, and when.

    python3 -m deploy.jobs                       writes deploy/k8s/prod/jobs.yaml

It needs nothing but Python. A test holds the file equal to what is written here.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent / "k8s" / "prod" / "jobs.yaml"


@dataclass(frozen=True)
class Job:
    """A command for all tenants; `part` is whose logins it has. `most_s`: a run that lasts longer is ended."""

    name: str
    schedule: str
    words: tuple[str, ...]
    most_s: int
    part: str = "redeem"
    seals: bool = False


JOBS = (
    Job("release-reservations", "7,22,37,52 * * * *", ("release-reservations",), 840),
    Job("seal", "12 * * * *", ("seal",), 3000, seals=True),
    Job("expire", "40 1 * * *", ("expire",), 14400),
    Job("notices", "30 2 * * *", ("notices",), 14400),
    Job("expire-gift-cards", "10 2 * * *", ("expire-gift-cards",), 7200),
    Job("benefits", "50 2 * * *", ("benefits",), 7200),
    Job("verify", "17 3 * * *", ("verify", "--wait", "60"), 21600, part="auditor", seals=True),
    Job("reconcile", "30 5 * * *", ("reconcile",), 14400, seals=True),
    # Each with its service's own login: nobody but an administrator has all five.
    *(
        Job(
            f"partitions-{service}",
            f"{minute} 0 * * *",
            ("partitions", "--service", service),
            3000,
            part=service,
        )
        for minute, service in ((3, "members"), (13, "earn"), (23, "redeem"), (33, "tiers"), (43, "notifier"))
    ),
)

HEAD = """# Written by `python3 -m deploy.jobs`: change its table.
# The services do all of these but the oracle's by themselves. A CronJob does them too, in a process of its own: so they are done
# where no service is well, and one that failed is a Job that failed. Both at once are fine. Times are UTC.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: pointbank-job
  labels:
    app.kubernetes.io/name: job
    app.kubernetes.io/part-of: pointbank
automountServiceAccountToken: false
"""

ONE = """---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: pointbank-{name}
  labels:
    app.kubernetes.io/name: job
    app.kubernetes.io/component: {name}
    app.kubernetes.io/part-of: pointbank
spec:
  schedule: "{schedule}"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 7
  jobTemplate:
    spec:
      # The next run does what this one left.
      backoffLimit: 0
      activeDeadlineSeconds: {most_s}
      template:
        metadata:
          labels:
            app.kubernetes.io/name: job
            app.kubernetes.io/component: {name}
            app.kubernetes.io/part-of: pointbank
        spec:
          restartPolicy: Never
          serviceAccountName: pointbank-job
          automountServiceAccountToken: false
          enableServiceLinks: false
          terminationGracePeriodSeconds: 45
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            runAsGroup: 10001
            fsGroup: 10001
            seccompProfile:
              type: RuntimeDefault
          containers:
            - name: {name}
              image: pointbank:0.1.0
              command: [{command}]
              envFrom:
                - configMapRef:
                    name: pointbank
              env:
{env}
              resources:
                requests:
                  cpu: 100m
                  memory: 128Mi
                limits:
                  cpu: "1"
                  memory: 512Mi
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities:
                  drop: ["ALL"]
              volumeMounts:
                - name: tmp
                  mountPath: /tmp
{mounts}          volumes:
            - name: tmp
              emptyDir:
                sizeLimit: 64Mi
{volumes}"""

REFERENCE = """                - name: {variable}
                  valueFrom:
                    secretKeyRef:
                      name: pointbank-{part}
                      key: {key}"""

FOLDER = "/var/lib/pointbank/seals"


def text() -> str:
    """The file."""
    return HEAD + "".join(map(_one, JOBS))


def _one(job: Job) -> str:
    # Who writes opens each tenant as its service does, which knows the key of identities.
    more = {} if job.part == "auditor" else {"POINTBANK_IDENTITY_SECRET": "identity-secret"}
    keys = {"POINTBANK_SERVICE_SECRET": "service-secret", "POINTBANK_REDIS_URL": "redis-url", **more}
    env = [REFERENCE.format(variable=variable, part=job.part, key=key) for variable, key in keys.items()]
    mounts = volumes = ""
    if job.seals:
        env.append(f"                - name: POINTBANK_SEAL_FOLDER\n                  value: {FOLDER}")
        reads = "" if job.name == "seal" else ", readOnly: true"  # the others only compare
        mounts = f"                - {{name: seals, mountPath: {FOLDER}{reads}}}\n"
        volumes = (
            f"            - {{name: seals, persistentVolumeClaim: {{claimName: pointbank-seals{reads}}}}}\n"
        )
    return ONE.format(
        name=job.name,
        schedule=job.schedule,
        most_s=job.most_s,
        command=", ".join(f'"{word}"' for word in ("pointbank", *job.words, "--all", "--json")),
        env="\n".join(env),
        mounts=mounts,
        volumes=volumes,
    )


def main() -> int:
    """Writes it."""
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
