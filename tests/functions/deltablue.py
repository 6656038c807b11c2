"""DeltaBlue: an incremental solver of hierarchies of one-way constraints, as a benchmark.

The algorithm is that of Freeman-Benson, Maloney and Borning, "An Incremental Constraint Solver"
(Communications of the ACM 33, 1990). Every variable knows which constraint determines it, and how strong
the weakest constraint is that could be given up to change it (its walkabout strength). Adding a constraint
gives up weaker ones along one path; removing one lets others back in.
"""

REQUIRED, STRONG, PREFERRED, NORMAL, WEAK, WEAKEST = range(6)  # a smaller number is stronger


class Variable:
    def __init__(self, name, value=0):
        self.name, self.value = name, value
        self.constraints = []
        self.determined_by = None
        self.walkabout = WEAKEST
        self.stays = True
        self.mark = 0


class Constraint:
    """A constraint with one method for each variable it could determine: `methods` maps that to a function."""

    def __init__(self, strength, variables, methods, is_input=False):
        self.strength, self.variables, self.methods, self.is_input = strength, variables, methods, is_input
        self.output = None

    def inputs(self):
        return (variable for variable in self.variables if variable is not self.output)

    def choose(self, mark):
        """Picks the variable that is cheapest to determine among those not determined in this round."""
        free = [v for v in self.methods if v.mark != mark and self.strength < v.walkabout]
        self.output = max(free, key=lambda variable: variable.walkabout, default=None)

    def recalculate(self):
        output = self.output
        others = [v.walkabout for v in self.methods if v is not output]
        output.walkabout = max([self.strength, *others])
        output.stays = not self.is_input and all(variable.stays for variable in self.inputs())
        if output.stays:
            self.execute()

    def execute(self):
        method = self.methods[self.output]
        if method:
            self.output.value = method()

    def inputs_known(self, mark):
        return all(v.mark == mark or v.stays or v.determined_by is None for v in self.inputs())


class Planner:
    def __init__(self):
        self.mark = 0

    def new_mark(self):
        self.mark += 1
        return self.mark

    def add(self, constraint):
        for variable in constraint.variables:
            variable.constraints.append(constraint)
        self.incremental_add(constraint)
        return constraint

    def incremental_add(self, constraint):
        mark = self.new_mark()
        while constraint is not None:
            constraint = self.satisfy(constraint, mark)

    def satisfy(self, constraint, mark):
        """Has the constraint determine a variable, and answers the one that did before."""
        constraint.choose(mark)
        if constraint.output is None:
            if constraint.strength == REQUIRED:
                raise ValueError("a required constraint cannot be satisfied")
            return None
        for variable in constraint.inputs():
            variable.mark = mark
        output = constraint.output
        overridden = output.determined_by
        if overridden is not None:
            overridden.output = None
        output.determined_by = constraint
        if not self.propagate(constraint, mark):
            raise ValueError("the constraints form a cycle")
        output.mark = mark
        return overridden

    def propagate(self, constraint, mark):
        todo = [constraint]
        while todo:
            constraint = todo.pop()
            if constraint.output.mark == mark:
                return False
            constraint.recalculate()
            todo.extend(self.consumers(constraint.output))
        return True

    @staticmethod
    def consumers(variable):
        return [c for c in variable.constraints if c is not variable.determined_by and c.output is not None]

    def remove(self, constraint):
        output = constraint.output
        constraint.output = None
        for variable in constraint.variables:
            variable.constraints.remove(constraint)
        if output is None:
            return
        unsatisfied = []
        output.determined_by, output.walkabout, output.stays = None, WEAKEST, True
        todo = [output]
        while todo:
            variable = todo.pop()
            unsatisfied.extend(c for c in variable.constraints if c.output is None)
            for consumer in self.consumers(variable):
                consumer.recalculate()
                todo.append(consumer.output)
        for other in sorted(unsatisfied, key=lambda c: c.strength):
            if other.output is None:
                self.incremental_add(other)

    def plan(self, sources):
        """The constraints to execute, in order, whenever the variables of `sources` have changed."""
        mark = self.new_mark()
        plan, todo = [], [source for source in sources if source.is_input and source.output]
        while todo:
            constraint = todo.pop()
            if constraint.output.mark != mark and constraint.inputs_known(mark):
                plan.append(constraint)
                constraint.output.mark = mark
                todo.extend(self.consumers(constraint.output))
        return plan


def equal(strength, a, b):
    return Constraint(strength, [a, b], {a: lambda: b.value, b: lambda: a.value})


def scale(strength, source, factor, offset, target):
    return Constraint(
        strength,
        [source, factor, offset, target],
        {
            target: lambda: source.value * factor.value + offset.value,
            source: lambda: (target.value - offset.value) // factor.value,
        },
    )


def stay(strength, variable):
    return Constraint(strength, [variable], {variable: None})


def edit(strength, variable):
    return Constraint(strength, [variable], {variable: None}, is_input=True)


def change(planner, variable, value):
    constraint = planner.add(edit(PREFERRED, variable))
    plan = planner.plan([constraint])
    for _ in range(10):
        variable.value = value
        for step in plan:
            step.execute()
    planner.remove(constraint)


def chain(length):
    """A value goes through a chain of equalities."""
    planner = Planner()
    variables = [Variable(f"v{number}") for number in range(length + 1)]
    for a, b in zip(variables, variables[1:]):
        planner.add(equal(REQUIRED, a, b))
    planner.add(stay(STRONG, variables[-1]))
    first = planner.add(edit(PREFERRED, variables[0]))
    # The end stays where it is and is stronger, so nothing moves.
    assert planner.plan([first]) == [] and variables[0].value == 0
    planner.remove(first)

    planner = Planner()
    for variable in variables:
        variable.__init__(variable.name)
    for a, b in zip(variables, variables[1:]):
        planner.add(equal(REQUIRED, a, b))
    planner.add(stay(WEAK, variables[-1]))
    first = planner.add(edit(PREFERRED, variables[0]))
    plan = planner.plan([first])
    assert len(plan) == length + 1
    for value in range(20):
        variables[0].value = value
        for step in plan:
            step.execute()
        assert variables[-1].value == value, (variables[-1].value, value)
    return variables[-1].value


def projection(size):
    """Values are scaled and shifted; changing either end, the factor or the offset changes the rest."""
    planner = Planner()
    factor, offset = Variable("factor", 10), Variable("offset", 1000)
    planner.add(stay(NORMAL, factor))
    planner.add(stay(NORMAL, offset))
    sources, targets = [], []
    for number in range(size):
        source, target = Variable(f"source{number}", number), Variable(f"target{number}", number)
        planner.add(stay(NORMAL, source))
        planner.add(scale(REQUIRED, source, factor, offset, target))
        sources.append(source)
        targets.append(target)
    change(planner, sources[0], 17)
    assert targets[0].value == 1170, targets[0].value
    change(planner, targets[0], 1050)
    assert sources[0].value == 5, sources[0].value
    change(planner, factor, 5)
    assert all(t.value == s.value * 5 + 1000 for s, t in zip(sources[1:], targets[1:]))
    change(planner, offset, 2000)
    assert all(t.value == s.value * 5 + 2000 for s, t in zip(sources[1:], targets[1:]))
    return sum(target.value for target in targets)


def faasm_main():
    return f"{chain(100)} {projection(100)}"
