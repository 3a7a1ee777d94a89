"""The shop's throttle: what a GraphQL query costs, and a bucket of points that refills.

Published rules (shopify.dev, "GraphQL Admin API rate limits"): a scalar costs nothing, an object 1 point, a mutation 10
more, a connection is sized by ``first``; the bucket must hold the *requested* cost before a query runs, and gets back
what the result did not need. How the size counts is not published: see docs/decisions/0021.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_argument_values,
    get_named_type,
)
from graphql.execution.values import VariableValues

CONNECTION_POINTS = 2
MUTATION_POINTS = 10
type Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meter:
    """Works out the cost of one operation.

    Attributes:
        schema: the shop's.
        document: the parsed and validated query.
        variables: coerced values of the operation's variables.
    """

    schema: GraphQLSchema
    document: DocumentNode
    variables: VariableValues

    def cost(self, operation: OperationDefinitionNode, returned: Mapping[Path, int] | None = None) -> int:
        """The points of an operation.

        Args:
            operation: one of the document.
            returned: how many records each connection returned, by its response path; None before the query has run,
                when the number that was asked for counts.
        """
        root = self.schema.get_root_type(operation.operation)
        if root is None:
            return 0
        base = MUTATION_POINTS if operation.operation is OperationType.MUTATION else 0
        return base + self._selection(root, operation.selection_set, (), returned)

    def _selection(
        self, parent: GraphQLObjectType, selected: SelectionSetNode, path: Path, returned: Mapping[Path, int] | None
    ) -> int:
        points: dict[str, int] = {}
        for parent_type, field in self._fields(parent, selected):
            key = field.alias.value if field.alias else field.name.value
            points[key] = max(points.get(key, 0), self._field(parent_type, field, (*path, key), returned))
        return sum(points.values())

    def _fields(
        self, parent: GraphQLObjectType, selected: SelectionSetNode
    ) -> list[tuple[GraphQLObjectType, FieldNode]]:
        found: list[tuple[GraphQLObjectType, FieldNode]] = []
        for node in selected.selections:
            if isinstance(node, FieldNode):
                found.append((parent, node))
            elif isinstance(node, InlineFragmentNode):
                found += self._fields(parent, node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                found += self._fields(parent, self._fragment(node.name.value).selection_set)
        return found

    def _fragment(self, name: str) -> FragmentDefinitionNode:
        return next(
            definition
            for definition in self.document.definitions
            if isinstance(definition, FragmentDefinitionNode) and definition.name.value == name
        )

    def _field(
        self, parent: GraphQLObjectType, field: FieldNode, path: Path, returned: Mapping[Path, int] | None
    ) -> int:
        name = field.name.value
        if name.startswith("__") or field.selection_set is None:
            return 0
        definition = parent.fields[name]
        kind = get_named_type(definition.type)
        if not isinstance(kind, GraphQLObjectType):
            return 0
        children = self._selection(kind, field.selection_set, path, returned)
        if kind.name.endswith("Connection"):
            arguments = get_argument_values(definition, field, self.variables)
            asked = arguments.get("first") or arguments.get("last") or 0
            return CONNECTION_POINTS + sized(children, asked if returned is None else returned.get(path, 0))
        if kind.name.endswith("Edge") or name == "pageInfo":
            return children
        return 1 + children


def sized(points: int, records: int) -> int:
    """What so many records cost, each of which costs ``points`` by itself: it grows with the logarithm of the size."""
    if records <= 2:
        return points * records
    return round(points * max(2.0, 2 * math.log(records)))


class Bucket:
    """Points that refill evenly up to a maximum."""

    def __init__(self, size: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """A full bucket.

        Args:
            size: the most points it holds.
            per_second: points that come back each second.
            clock: seconds, never going back.
        """
        self.size = size
        self.per_second = per_second
        self._clock = clock
        self._points = float(size)
        self._at = clock()

    @property
    def available(self) -> int:
        """Whole points at this moment."""
        now = self._clock()
        self._points = min(self.size, self._points + (now - self._at) * self.per_second)
        self._at = now
        return int(self._points)

    def take(self, points: int) -> bool:
        """Take points if there are as many; say whether they were taken."""
        if points > self.available:
            return False
        self._points -= points
        return True

    def give_back(self, points: int) -> None:
        """Return points that were not needed."""
        self._points = min(self.size, self._points + points)
