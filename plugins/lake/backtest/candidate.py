"""Which scorecard is tried."""

from collections.abc import Callable

from lake.errors import Hopeless
from order_fraud.judge import Judge
from order_fraud.policies import Policies
from order_fraud.policy import BadScorecard, parse
from order_fraud.scorecard import Scorecard


class BadCandidate(Hopeless):
    """The form names no scorecard that can be tried; the message says why and what to do."""


def choose(known: Policies, version: str | None, document: str | None, mask: Callable[[Scorecard], Scorecard]) -> Judge:
    """Return the scorecard to try; if the form names none, the one that judges now.

    Args:
        known: the published scorecards.
        version: one of theirs, or None.
        document: a scorecard as JSON, published or not, or None.
        mask: makes a scorecard judge masked orders; see :meth:`lake.masking.Masker.scorecard`.

    Raises:
        BadCandidate: both are given, nobody published that version, the document is no scorecard, or its version was
            published with other content.
    """
    version, document = (version or "").strip(), (document or "").strip()
    if version and document:
        raise BadCandidate("candidate_version and candidate_document are both given: empty one of them")
    if document:
        return _of_document(known, document, mask)
    if not version:
        return known.panel.active
    if version not in known.scorecards:
        published = ", ".join(known.scorecards)
        raise BadCandidate(
            f"candidate_version {version!r} was never published, or has not landed yet (there are {published}): run "
            "land_events, or paste the scorecard into candidate_document"
        )
    return known.bench(version).active


def _of_document(known: Policies, document: str, mask: Callable[[Scorecard], Scorecard]) -> Judge:
    try:
        scorecard = mask(parse(document.encode()))
    except BadScorecard as error:
        raise BadCandidate(f"candidate_document is no scorecard:\n{error}") from error
    published = known.scorecards.get(scorecard.version)
    if published is not None and published != scorecard:
        raise BadCandidate(
            f"candidate_document calls itself version {scorecard.version!r}, which was published with other content: "
            "give it a version of its own - at `$.version`"
        )
    return known.bench(scorecard.version).active if published is not None else Judge(scorecard)
