"""Passwords and keys that are derived from one root secret, so that none has to be stored."""

import base64
import hashlib
import hmac


def service_secret(root: str, service: str) -> str:
    """The secret a service is given instead of the root secret; it can't be turned back into the root."""
    return hmac.new(root.encode(), service.encode(), hashlib.sha256).hexdigest()


def role_password(secret: str, role: str) -> str:
    """The password of a database (or Redis) login, from the secret of the service that logs in.

    Without padding and URL-safe: it can stand in a DSN as it is.
    """
    digest = hmac.new(secret.encode(), role.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
