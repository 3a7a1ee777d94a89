"""Personal data is replaced by tokens before it lands, so that sources still join and nobody can read them back."""

import hmac
import re

import msgspec

from lake.redaction import is_card_number
from lake.settings import BadSetting
from order_fraud.scorecard import Scorecard

MIN_KEY_BYTES = 16
_NO_ADDRESS = ("card", "email_domain", "by")
_TOKEN = re.compile(r"tok_[0-9a-f]{32}\Z")


class Masker:
    """Turns an ip, an e-mail address or the number of a card into its token: ``tok_`` and 32 hex digits of HMAC-SHA256.

    The same value gives the same token under the same key, wherever it stands. A token is left as it is, so masking
    twice changes nothing.
    """

    def __init__(self, key: str) -> None:
        """Take the secret of this installation.

        Raises:
            BadSetting: the key is shorter than 16 bytes, which would make the tokens guessable.
        """
        self._key = key.encode()
        if len(self._key) < MIN_KEY_BYTES:
            raise BadSetting(
                f"the Airflow Variable masking_key has {len(self._key)} bytes, fewer than {MIN_KEY_BYTES}: "
                "set it to a random secret and keep it, since another key breaks the join with what has landed"
            )
        self._known: dict[str, str] = {}

    def __call__(self, value: str) -> str:
        """Return the token of ``value``."""
        token = self._known.get(value)
        if token is None:
            token = (
                value if _TOKEN.match(value) else f"tok_{hmac.digest(self._key, value.encode(), 'sha256').hex()[:32]}"
            )
            self._known[value] = token
        return token

    def as_kind(self, kind: str, value: str) -> str:
        """Return the token of personal data of a kind: card, email, ip or text.

        What is the same thing in other spelling gives the same token.
        """
        match kind:
            case "card":
                return self(value if _TOKEN.match(value) else re.sub(r"[ -]", "", value))
            case "email":
                return self.email(value)
            case "ip":
                return self(value.strip())
        return self(value)

    def scorecard(self, scorecard: Scorecard) -> Scorecard:
        """Return a scorecard whose lists name what was masked by its token, so that it judges masked orders as the
        raw one judges raw ones.
        """
        if all(self.entity(entry.entity, entry.value) == entry.value for entry in scorecard.lists):
            return scorecard
        lists = tuple(
            msgspec.structs.replace(entry, value=self.entity(entry.entity, entry.value)) for entry in scorecard.lists
        )
        return msgspec.structs.replace(scorecard, lists=lists)

    def entity(self, entity: str, value: str) -> str:
        """Return the id of an entity as it may land.

        An ip is always masked. A card is a fingerprint and an e-mail domain no address, or so the contract says: where
        a sender sends the number or the address itself, it is masked all the same. Equal ids stay equal either way,
        and that is all that histories and lists ask of them.
        """
        if entity == "ip" or (entity == "card" and is_card_number(value)) or ("@" in value and entity in _NO_ADDRESS):
            return self(value)
        return value

    def email(self, address: str) -> str:
        """Return the token of an e-mail address, alike for any case and surrounding blanks."""
        return self(address.strip().lower())
