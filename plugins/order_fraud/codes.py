"""What a code means, and that it means the same in every version: a reason is read years later, beside others.

Points, edges and outcomes may change under a code; the signals that it speaks of may not.
"""

from collections.abc import Iterable, Iterator

from order_fraud.scorecard import Scorecard


def clashes(scorecard: Scorecard, others: Iterable[Scorecard]) -> Iterator[str]:
    """Yield a line for each code of a bin or rule that means something else in another version.

    Args:
        scorecard: the version to be published.
        others: those that were published before. The same version among them is passed over.
    """
    before: dict[str, tuple[str, str]] = {}
    for other in others:
        if other.version != scorecard.version:
            for code, meaning, _ in _codes(other):
                before.setdefault(code, (meaning, other.version))
    for code, meaning, path in _codes(scorecard):
        known, version = before.get(code, (meaning, ""))
        if known != meaning:
            yield f"code {code!r} is of {meaning}, and in version {version!r} of {known}: give it another - at `{path}`"


def _codes(scorecard: Scorecard) -> Iterator[tuple[str, str, str]]:
    """Yield each code of a bin or rule with what it means and where it stands."""
    for n, line in enumerate(scorecard.lines):
        for m, one in enumerate(line.bins):
            yield one.code, f"a bin of {line.signal}", f"$.lines[{n}].bins[{m}].code"
    for n, rule in enumerate(scorecard.rules):
        signals = sorted({condition.signal for condition in rule.when})
        yield rule.code, f"a rule on {' and '.join(signals)}", f"$.rules[{n}].code"
