"""HAProxy before the services: `pointbank gateway` writes its files. deploy/gateway/README.md says what it does."""
