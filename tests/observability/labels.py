"""Follows labels through a PromQL expression: whether the metrics exist and have what is asked of them."""

import promql_parser as promql

# What Prometheus itself adds to everything it scrapes, and series of its own.
SCRAPED = frozenset({"job", "instance"})
OWN = {"up": ("gauge", frozenset()), "scrape_samples_scraped": ("gauge", frozenset())}


class Contract:
    """Metrics by name, with their types and labels; recording rules add to them."""

    def __init__(self, metrics: dict[str, tuple[str, frozenset[str]]]):
        self._metrics = {name: (kind, labels | SCRAPED) for name, (kind, labels) in {**OWN, **metrics}.items()}

    def record(self, name: str, labels: frozenset[str]) -> None:
        self._metrics[name] = ("gauge", labels)

    def find(self, name: str) -> tuple[str, frozenset[str]] | None:
        for suffix, more in {"_bucket": {"le"}, "_sum": set(), "_count": set()}.items():
            kind, labels = self._metrics.get(name.removesuffix(suffix), ("", frozenset()))
            if name.endswith(suffix) and kind == "histogram":
                return "counter", labels | more
        found = self._metrics.get(name)
        return None if found and found[0] == "histogram" else found


class Reader:
    """Reads one expression; `labels` are those of its result, `problems` what is wrong with it."""

    def __init__(self, expr: str, contract: Contract):
        self._contract = contract
        self.problems: list[str] = []
        self.counters_as_they_are: list[str] = []
        self.selectors: list[tuple[str, list[str]]] = []
        self.labels: frozenset[str] = frozenset()
        try:
            tree = promql.parse(expr)
        except ValueError as error:
            self.problems.append(f"{error} in {expr}")
        else:
            self.labels = self._read(tree)

    def _miss(self, what: str, wanted, there) -> None:
        if missing := sorted(set(wanted) - there):
            self.problems.append(f"{what} has no label {', '.join(missing)}")

    def _read(self, expr, within="") -> frozenset[str]:
        match expr:
            case promql.NumberLiteral() | promql.StringLiteral():
                return frozenset()
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                return self._read(expr.expr, within)
            case promql.MatrixSelector():
                return self._selector(expr.vector_selector, within)
            case promql.VectorSelector():
                return self._selector(expr, "")
            case promql.Call():
                return self._call(expr)
            case promql.AggregateExpr():
                return self._aggregate(expr)
            case promql.BinaryExpr():
                return self._binary(expr)
        raise TypeError(f"{type(expr)} is not known here")

    def _selector(self, selector, within) -> frozenset[str]:
        self.selectors.append((selector.name, [matcher.name for matcher in selector.matchers.matchers]))
        found = self._contract.find(selector.name)
        if found is None:
            self.problems.append(f"{selector.name} is not documented")
            return frozenset()
        kind, labels = found
        self._miss(selector.name, (matcher.name for matcher in selector.matchers.matchers), labels)
        if kind == "counter" and within not in ("rate", "increase"):
            self.counters_as_they_are.append(selector.name)
        return labels

    def _call(self, call) -> frozenset[str]:
        name = call.func.name
        read = [self._read(arg, within=name) for arg in call.args]
        labels = frozenset().union(*read)
        if name == "label_replace":
            return labels | {call.args[1].val}
        if name == "histogram_quantile":
            self._miss("what histogram_quantile reads", ["le"], labels)
            return labels - {"le"}
        return labels

    def _aggregate(self, aggregate) -> frozenset[str]:
        labels = self._read(aggregate.expr)
        if aggregate.modifier is None:
            return frozenset()
        named = frozenset(aggregate.modifier.labels)
        self._miss(f"what {aggregate.op} reads", named, labels)
        return named if str(aggregate.modifier.type).endswith("By") else labels - named

    def _binary(self, binary) -> frozenset[str]:
        left, right = self._read(binary.lhs), self._read(binary.rhs)
        modifier, operator = binary.modifier, str(binary.op)
        matching = modifier.matching if modifier else None
        if matching is not None and str(matching.type).endswith("Include"):
            self._miss(f"left of {operator}", matching.labels, left)
            self._miss(f"right of {operator}", matching.labels, right)
        if operator in ("and", "unless"):
            return left
        if operator == "or":
            return left | right
        card = str(modifier.card) if modifier else ""
        if card.endswith("ManyToOne"):
            return left | frozenset(modifier.group_labels or ())
        if card.endswith("OneToMany"):
            return right | frozenset(modifier.group_labels or ())
        both = isinstance(binary.lhs, promql.NumberLiteral) or isinstance(binary.rhs, promql.NumberLiteral)
        return left | right if both or matching is None else frozenset(matching.labels)
