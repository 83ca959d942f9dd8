"""Stage 1: which row each operation takes, as a constraint model over rows only.

Columns follow from rows: any register of a row reads any register of the row before, so an operand never cares
for columns; and registers reduce to a count, because a fresh result has a fixed register and a passing value takes
any free one. So the model decides

    below[g, r]   group g sits in row r or above (order encoding, monotone in r),
    fold[e]       foldable exe e reads the registers of its own row,
    direct[s]     store s takes its data from the exe in its own unit,

for a fixed number of rows. With at[i, r] = below[i, r] - below[i, r - 1], every constraint is one method of
:class:`RowModel`, with its inequality in the docstring. All of them hold for every legal placement (rules 1-16, and
17 where the share is enforced), so an infeasible model is a proof; `dominance` puts like parts in order, which
loses no row count (:mod:`.dominance`). A feasible plan may still fail in :mod:`.columns` or :mod:`.registers`: transit
blocks, shared selector indices and address compatibility are only counted here.

A node's span (first, last row) is part of the question: a window search fixes most nodes (first = last), whose
terms then are numbers and cost the solver nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mapper.solver import Expression, Limits, Solution, solve

from .dominance import NO_ORDER, Dominance
from .memory import limit_columns
from .order import RowOrder, Spans
from .rules import COLUMNS, REGISTERS, ROWS, Body, Read

Objective = Literal["none", "hops", "early", "late", "excess"]
BLOCKED_ALONE, BLOCKED_BESIDE_LOAD = 3, 2  # registers that a store from a register takes from passing values
EXCESS_PRICE = 40  # of a register too many, in live values
_Difference = tuple[Expression, Expression, Expression]  # produced, used, slack


@dataclass(frozen=True)
class RowPlan:
    """A row for every node and the exes that are folded."""

    rows: int
    row_of: Mapping[int, int]
    folded: frozenset[int]


class RowModel(RowOrder):
    """The model for `rows` rows and the nodes' `spans`. `nogoods`: sets of nodes that must not share one row."""

    def __init__(
        self,
        body: Body,
        rows: int,
        spans: Spans,
        *,
        objective: Objective = "none",
        nogoods: Iterable[frozenset[int]] = (),
        dominance: Dominance = NO_ORDER,
    ) -> None:
        super().__init__(body, rows, spans)
        if self.trivially_infeasible:
            return
        self.loose = dominance.loose
        self.excess: list[Expression] | None = [] if objective == "excess" else None
        self.fold = {e: self.model.flag(f"fold{e}") for e in body.store_of if self._is_open(e)}
        self.direct = self._direct_variables()
        self._precedence()
        self._folding()
        self._one_direct_store()
        self._exe_and_cex_slots()
        self._cumulative_slots()
        limit_columns(self, dominance.merged)
        live = self._live_values()
        self._registers(live)
        for nogood in nogoods:
            self._forbid(nogood)
        for upper, lower in dominance.order:
            self._keep_order(upper, lower)
        self._set_objective(objective, live)

    def _set_objective(self, objective: Objective, live: Mapping[int, Sequence[Expression]]) -> None:
        """Fewest live values, after registers in excess where those are allowed; or exe nodes
        as far up, or down, as they go, which gathers free slots at one end."""
        if objective in ("hops", "excess"):
            held = sum(term for terms in live.values() for term in terms)
            self.model.minimize(held + EXCESS_PRICE * sum(self.excess or ()))
        elif objective != "none":
            exes = {g: sum(self.body.kind(i) == "exe" for i in nodes) for g, nodes in self.body.groups.items()}
            above = sum(exes[g] * var for (g, _), var in self.variables.items())
            self.model.minimize(-above if objective == "early" else above)

    # ---- variables

    def _is_open(self, i: int) -> bool:
        """Node i, or the store of foldable i, is not fixed."""
        nodes = (i, self.body.store_of[i]) if i in self.body.store_of else (i,)
        return any(self.first(j) < self.last(j) for j in nodes) or i in self.body.store_of

    def _direct_variables(self) -> dict[int, Expression]:
        """direct[s] = 0 puts store s strictly below the exe of its data; stores of loads are never direct."""
        found: dict[int, Expression] = {}
        for s in self.body.memory_nodes:
            data = self.body.memory(s).data
            if data is None:
                continue
            found[s] = 0
            if self.body.kind(data) == "exe" and self.body.is_data_only(data, s):
                if s in self.loose:
                    found[s] = 1
                    continue
                found[s] = direct = self.model.flag(f"direct{s}")
                for row in range(self.first(s), self.last(s) + 1):
                    self.model.add(self.below(s, row) <= self.below(data, row - 1) + direct)
        return found

    # ---- precedence and folding (rules 4, 15)

    def _precedence(self) -> None:
        """below[user, r] <= below[value, r - distance]; the shorter folded distance needs fold = 1."""
        for read in self.body.reads:
            self._not_before(read, self.body.least_distance(read))
            if read.fold is not None and read.folded_distance < read.distance:
                self._not_before(read, read.distance, self.fold[read.fold])

    def _not_before(self, read: Read, distance: int, unless: Expression = 0) -> None:
        for row in range(self.first(read.user), self.last(read.user) + 1):
            source = self.below(read.value, row - distance)
            if not (isinstance(source, int) and source == 1):
                self.model.add(self.below(read.user, row) <= source + unless)

    def _folding(self) -> None:
        """fold[e] <= direct[store of e], and then both sit in one row: below[e, r] <= below[store, r] + 1 - fold[e]."""
        for e, fold in self.fold.items():
            store = self.body.store_of[e]
            self.model.add(fold <= self.direct[store])
            for row in range(self.first(e), self.last(e) + 1):
                self.model.add(self.below(e, row) <= self.below(store, row) + 1 - fold)

    def _one_direct_store(self) -> None:
        """Rule 11: of several stores of one exe result, at most one sits in the exe's row."""
        stores: dict[int, list[Expression]] = defaultdict(list)
        for s, direct in self.direct.items():
            if not isinstance(direct, int):
                stores[self.body.memory(s).data or 0].append(direct)
        for several in stores.values():
            if len(several) > 1:
                self.model.add(sum(several) <= 1)

    # ---- slots (rules 2, 3, 16)

    def _at_most(self, nodes: Iterable[int], row: int, limit: int) -> None:
        terms = [self.at(i, row) for i in nodes]
        if len(terms) > limit:
            self.model.add(sum(terms) <= limit)

    def _exe_and_cex_slots(self) -> None:
        """Per row: sum of at[exe] <= 4 (less the loop counters in row 0), sum of at[cex] <= 4, one LDDMQ."""
        ids, dfg = self.body.ids, self.body.dfg
        for row, nodes in enumerate(self.in_row(i for i in ids if self.body.kind(i) == "exe")):
            self._at_most(nodes, row, COLUMNS - (dfg.loop_levels if row == 0 else 0))
        for row, nodes in enumerate(self.in_row(i for i in ids if self.body.kind(i) == "cex")):
            self._at_most(nodes, row, COLUMNS)
        for row, nodes in enumerate(self.in_row(i for i in ids if dfg[i].op == "LDDMQ")):
            self._at_most(nodes, row, 1)

    def _cumulative_slots(self) -> None:
        """Implied, but seen by propagation only if said: of the exe nodes that can move, no more lie above or below a
        row than the free slots there: sum of below[i, r] <= free slots up to r, and likewise beneath it."""
        exes = [i for i in self.body.ids if self.body.kind(i) == "exe"]
        moving = [i for i in exes if self.first(i) < self.last(i)]
        if not moving:
            return
        free = [COLUMNS] * self.rows
        free[0] -= self.body.dfg.loop_levels
        for i in exes:
            if self.first(i) == self.last(i):
                free[self.first(i)] -= 1
        start, end = min(self.first(i) for i in moving), max(self.last(i) for i in moving)
        for row in range(start, end):
            above = sum(self.below(i, row) for i in moving)
            self.model.add(above <= sum(free[start : row + 1]))
            self.model.add(above >= len(moving) - sum(free[row + 1 : end + 1]))

    # ---- registers (rules 5-9)

    def _live_values(self) -> dict[int, list[Expression]]:
        """Row -> one term per node value that is, or may be, in a register of that row.

        live[v, r] >= below[v, r] - below[u, r] for each user u; >= below[v, r] - below[u, r - 1] - 1 + fold if u may
        fold; an unread load owns its home register: live[v, r] >= at[v, r].
        """
        live: dict[int, list[Expression]] = defaultdict(list)
        for value in self.body.values:
            reads = self.body.reads_of[value]
            if self.body.kind(value) == "load" and not reads:
                for row in range(self.first(value), self.last(value) + 1):
                    live[row].append(self.at(value, row))
            if reads:
                self._live_value(value, reads, live)
        return live

    def _live_value(self, value: int, reads: Sequence[Read], live: dict[int, list[Expression]]) -> None:
        group_of = self.body.group_of
        users = list({group_of[r.user]: r.user for r in reads}.values())
        late = {(group_of[r.user], r.fold): r for r in reads if r.fold is not None and self._reads_late(r)}
        end = max(self.last(u) for u in users) + bool(late)
        for row in range(self.first(value), min(end, self.rows)):
            produced = self.below(value, row)
            terms: list[_Difference] = [(produced, self.below(u, row), 0) for u in users]
            terms += [(produced, self.below(r.user, row - 1), 1 - self.fold[e]) for (_, e), r in late.items()]
            term = self._largest_difference(terms)
            if not (isinstance(term, int) and term == 0):
                live[row].append(term)

    def _reads_late(self, read: Read) -> bool:
        """The user reads the registers of its own row if its unit is folded (a direct store reads none)."""
        return read.distance > 0

    def _largest_difference(self, terms: Sequence[_Difference]) -> Expression:
        """max of (produced - used - slack) over `terms`, a number where all are."""
        open_terms = []
        for produced, used, slack in terms:
            if isinstance(produced, int) and produced == 0 or isinstance(used, int) and used == 1:
                continue
            if all(isinstance(t, int) for t in (produced, used, slack)):
                return 1
            open_terms.append((produced, used, slack))
        if not open_terms:
            return 0
        if len(open_terms) == 1 and isinstance(open_terms[0][2], int):
            return open_terms[0][0] - open_terms[0][1]
        live = self.model.flag()
        for produced, used, slack in open_terms:
            self.model.add(live >= produced - used - slack)
        return live

    def _registers(self, live: Mapping[int, Sequence[Expression]]) -> None:
        """Per row: live values + distinct host constants read from it <= 16; live values + 3 x register stores <= 16.

        A store from a register blocks the four transit paths of its unit, of which at most the home of one exe stays
        in use, and of one load if the store's region has any (then 2 x). Row -1 is row 63, where the loop counters'
        constants sit too.
        """
        hosts = self._host_constants()
        blocked = self._register_stores()
        for row in range(self.rows):
            values = list(live.get(row, ()))
            constants = [term for term, _ in hosts.get(row, ())]
            if row == ROWS - 1:
                constants += self._constants_of_row_0(hosts)
            self._add_limit(values + constants, REGISTERS)
            if blocked.get(row):
                self._add_limit(values + blocked[row], REGISTERS)
        self._add_limit(self._constants_of_row_0(hosts), REGISTERS)

    def _add_limit(self, terms: Sequence[Expression], limit: int) -> None:
        """sum of terms <= limit, or limit + excess where a price is asked for it."""
        if self.excess is not None and not all(isinstance(t, int) for t in terms):
            self.excess.append(self.model.integer(0, len(terms)))
            self.model.add(sum(terms) <= limit + self.excess[-1])
        elif self.excess is None and (len(terms) > limit or any(not isinstance(t, int) for t in terms)):
            self.model.add(sum(terms) <= limit)

    def _constants_of_row_0(self, hosts: Mapping[int, Sequence[tuple[Expression, int]]]) -> list[Expression]:
        counters = set(self.body.dfg.loop_host)
        return [1] * len(counters) + [term for term, host in hosts.get(-1, ()) if host not in counters]

    def _host_constants(self) -> dict[int, list[tuple[Expression, int]]]:
        """held[h, r] >= at[u, r + 1] for each user u of host h; folded users read their own row instead."""
        users: dict[int, list[int]] = defaultdict(list)
        for i, hosts in self.body.hosts.items():
            for host in hosts:
                users[host].append(i)
        found: dict[int, list[tuple[Expression, int]]] = defaultdict(list)
        for host in sorted(users):
            demands: dict[int, list[Expression]] = defaultdict(list)
            for i in users[host]:
                self._host_demand(i, demands)
            for row, terms in sorted(demands.items()):
                found[row].append((self._any_of(terms), host))
        return found

    def _host_demand(self, i: int, demands: dict[int, list[Expression]]) -> None:
        exe = self.body.fold_of.get(i)
        for row in range(self.first(i), self.last(i) + 1):
            here = self.at(i, row)
            if exe is None:
                demands[row - 1].append(here)
            else:
                demands[row - 1].append(here - self.fold[exe])
                demands[row].append(here + self.fold[exe] - 1)

    def _any_of(self, terms: Sequence[Expression]) -> Expression:
        """1 if any term is: a number if one surely is, the term itself if it is the only one and cannot be negative."""
        numbers = [t for t in terms if isinstance(t, int)]
        if any(t > 0 for t in numbers):
            return 1
        open_terms = [t for t in terms if not isinstance(t, int)]
        if not open_terms:
            return 0
        held = self.model.flag()
        for term in open_terms:
            self.model.add(held >= term)
        return held

    def _register_stores(self) -> dict[int, list[Expression]]:
        """blocked[s, r] >= at[s, r] - direct[s], each times the registers that it costs."""
        found: dict[int, list[Expression]] = defaultdict(list)
        for s, direct in self.direct.items():
            cost = BLOCKED_BESIDE_LOAD if self._may_meet_load(s) else BLOCKED_ALONE
            for row in range(self.first(s), self.last(s) + 1) if s not in self.loose else ():
                if isinstance(direct, int):
                    found[row].append(cost * self.at(s, row))
                else:
                    blocked = self.model.flag()
                    self.model.add(blocked >= self.at(s, row) - direct)
                    found[row].append(cost * blocked)
        return found

    def _may_meet_load(self, store: int) -> bool:
        """Rule 13: the unit of a store can hold a load of its region only."""
        region = self.body.memory(store).region
        return any(self.body.kind(i) == "load" and self.body.memory(i).region == region for i in self.body.memory_nodes)

    def _forbid(self, nodes: frozenset[int]) -> None:
        """A set of nodes that no row can hold together: per row, sum of at <= n - 1."""
        for row in range(max(self.first(i) for i in nodes), min(self.last(i) for i in nodes) + 1):
            self.model.add(sum(self.at(i, row) for i in nodes) <= len(nodes) - 1)

    def _keep_order(self, upper: int, lower: int) -> None:
        """below[lower, r] <= below[upper, r], in the rows where that says something."""
        for row in range(self.first(lower), self.last(upper)):
            self.model.add(self.below(lower, row) <= self.below(upper, row))

    # ---- solving

    def hint(self, plan: RowPlan) -> None:
        """Start the search from `plan`'s rows."""
        self.model.hint((var, int(plan.row_of[g] <= row)) for (g, row), var in self.variables.items())
        self.model.hint((var, int(e in plan.folded)) for e, var in self.fold.items())

    def solve(self, limits: Limits) -> tuple[Solution | None, RowPlan | None]:
        """(solver's answer, plan); the answer is None where the spans alone rule a plan out."""
        if self.trivially_infeasible:
            return None, None
        solution = solve(self.model, limits)
        return solution, self._plan(solution) if solution else None

    def _plan(self, solution: Solution) -> RowPlan:
        row_of = {}
        for i in self.body.ids:
            low, high = self.first(i), self.last(i)
            group = self.body.group_of[i]
            row_of[i] = next((r for r in range(low, high) if solution.value(self.variables[group, r])), high)
        folded = frozenset(e for e, var in self.fold.items() if solution.value(var))
        return RowPlan(max(row_of.values(), default=0) + 1, row_of, folded)
