"""Tokens of MSK IAM for librdkafka.

Since 2.13, confluent-kafka calls ``oauth_cb`` on a thread of librdkafka's own, for all its kinds of client: one that is
never polled (a producer that is idle, a consumer between two batches, an admin client) gets its first token before its
constructor returns, and a new one after four fifths of each token's life. Earlier versions needed ``poll`` for it;
hence the lower bounds in the requirement files.
"""

import logging

from kafka_access.settings import Access

log = logging.getLogger(__name__)
SESSION = "countersign"
"""Name of the session when a role is assumed: AWS's audit log has it."""


class NoToken(RuntimeError):
    """AWS gives this process no credentials to sign with; the message says why, and the remedy."""


def token(access: Access) -> tuple[str, float]:
    """Return a token for MSK, and when it expires, in seconds since 1970 (the signer speaks of milliseconds).

    Raises:
        NoToken: there are no AWS credentials, or the role may not be assumed.
    """
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider as Signer  # boto3 takes half a second, and few need it

    try:
        if access.role:
            signed, expires_ms = Signer.generate_auth_token_from_role_arn(access.region, access.role, SESSION)
        else:
            signed, expires_ms = Signer.generate_auth_token(access.region)
    except Exception as error:
        # Without any credentials the signer fails on an attribute of None, which says nothing to anybody.
        why = "no AWS credentials were found" if isinstance(error, AttributeError) else f"{error}"
        raise NoToken(
            f"no token for {access} as {access.principal}: {why}; give the process a role, or set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        ) from error
    return signed, expires_ms / 1000


class Tokens:
    """The callback that librdkafka gets its tokens from."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, _config: str) -> tuple[str, float]:
        """Return a new token. What is raised, librdkafka takes for "try again in ten seconds"."""
        try:
            return token(self._access)
        except NoToken as error:
            log.error("%s", error)
            raise
