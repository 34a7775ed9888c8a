"""From a membrane model, written once in JAX, to the arithmetic of the compiled kernels.

The step of a cell is traced with scalar float64 arguments; its jaxpr is read into a `Program`, in which equal parts are
computed once and everything that depends on parameters and dt alone is taken out of the loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.ionic import IonicModel
from einthoven.simulate.program import Builder, Program, Split, split

#: A step of the membrane: (model, v, states, dt) to (v, states).
Step = Callable[[IonicModel, Any, tuple[Any, ...], Any], tuple[Any, tuple[Any, ...]]]

#: Primitives that are one operation.
_SAME = {
    "add": "add", "add_any": "add", "sub": "sub", "mul": "mul", "div": "div", "neg": "neg", "abs": "abs", "max": "max",
    "min": "min", "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "tanh": "tanh", "sqrt": "sqrt",
    "lt": "lt", "le": "le", "eq": "eq", "ne": "ne", "and": "and", "or": "or", "not": "not",
}  # fmt: skip

#: Primitives that hand on their operand, since everything is a scalar.
_NOTHING = {"stop_gradient", "copy", "copy_p", "squeeze", "reshape", "broadcast_in_dim", "optimization_barrier"}

#: Primitives that contain a jaxpr, with the name of the parameter.
_CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat": "jaxpr",
    "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr", "custom_lin": "jaxpr",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Membrane:
    """The step of a cell as a program, apart from the values of its parameters.

    Parameters
    ----------
    name
        Of the model's class.
    split
        Its parts; the inputs ``shared`` and ``cell`` of the first two are the model's leaves and, last of the shared,
        dt.
    is_array
        For every leaf of the model whether it has one value per cell.
    """

    name: str
    split: Split
    is_array: tuple[bool, ...]

    @property
    def program(self) -> Program:
        """What is done for every cell in every step: from v, states, shared and cell values to v and states."""
        return self.split.varying

    def values(
        self, model: IonicModel, dt: float
    ) -> tuple[Float[np.ndarray, " n_shared"], list[Float[np.ndarray, " n_cells"]]]:
        """Shared and cell inputs of the program for a model of the traced class."""
        leaves = _leaves(model)
        numbers = [np.float64(x) for x, many in zip(leaves, self.is_array, strict=True) if not many]
        inputs: dict[str, list[Any]] = {"shared": [*numbers, np.float64(dt)]}
        inputs["cell"] = [np.asarray(x, np.float64) for x, many in zip(leaves, self.is_array, strict=True) if many]
        with np.errstate(all="ignore"):
            shared = np.array(self.split.shared.evaluate(inputs), dtype=np.float64).reshape(-1)
            return shared, self.split.cell.evaluate(inputs)


def trace(model: IonicModel, step: Step) -> Membrane:
    """Read the step of a model.

    Parameters
    ----------
    model
        Only its structure matters: its class, its static fields, and which of its parameters are arrays.
    step
        `einthoven.ionic.stepping.reaction_step`, or another of the same signature.

    Raises
    ------
    InputError
        If the model uses an operation that the kernels do not have.
    """
    import jax

    leaves, structure = jax.tree_util.tree_flatten(model)
    one = jax.ShapeDtypeStruct((), np.float64)

    def flat(leaves: Any, v: Any, states: Any, dt: Any) -> Any:
        return step(jax.tree_util.tree_unflatten(structure, leaves), v, states, dt)

    with jax.enable_x64(True):
        jaxpr = jax.make_jaxpr(flat)([one] * len(leaves), one, (one,) * len(model.states), one)
    name, is_array = type(model).__name__, tuple(np.ndim(leaf) > 0 for leaf in leaves)
    builder = Builder()
    inputs = [*_parameters(builder, is_array), builder.input("v")]
    inputs += [builder.input("state", k) for k in range(len(model.states))]
    inputs.append(builder.input("shared", is_array.count(False)))
    outputs = _Reader(builder, name).read(jaxpr, inputs)
    return Membrane(name, split(builder, outputs), is_array)


def _leaves(model: IonicModel) -> list[Any]:
    import jax

    return jax.tree_util.tree_leaves(model)


def _parameters(builder: Builder, is_array: Sequence[bool]) -> list[int]:
    """Inputs of the leaves, numbered within their kind."""
    counts = {True: 0, False: 0}
    places = []
    for many in is_array:
        places.append(builder.input("cell" if many else "shared", counts[many]))
        counts[many] += 1
    return places


@dataclass(frozen=True)
class _Reader:
    """Reads a jaxpr into a builder; `name` is that of the model, for messages."""

    builder: Builder
    name: str

    def read(self, closed: Any, inputs: Sequence[int]) -> list[int]:
        """Places of the outputs of a closed jaxpr."""
        jaxpr, consts = (closed.jaxpr, closed.consts) if hasattr(closed, "jaxpr") else (closed, ())
        known = dict(zip(jaxpr.constvars, (self.builder.constant(self._number(c)) for c in consts), strict=True))
        known |= dict(zip(jaxpr.invars, inputs, strict=True))
        for equation in jaxpr.eqns:
            results = self._equation(equation, [self._place(known, x) for x in equation.invars])
            known |= dict(zip(equation.outvars, results, strict=True))
        return [self._place(known, x) for x in jaxpr.outvars]

    def _place(self, known: dict[Any, int], variable: Any) -> int:
        return self.builder.constant(self._number(variable.val)) if hasattr(variable, "val") else known[variable]

    def _number(self, value: Any) -> float:
        if np.ndim(value):
            raise InputError(
                f"{self.name} holds an array inside its equations; kernels are made for one cell: make it a parameter."
            )
        return float(value)

    def _equation(self, equation: Any, args: list[int]) -> list[int]:
        name, params, make = equation.primitive.name, equation.params, self.builder.apply
        if name in _CALLS:
            return self.read(params[_CALLS[name]], args[len(args) - len(_invars(params[_CALLS[name]])) :])
        if name in _SAME:
            return [make(_SAME[name], *args)]
        if name in _NOTHING:
            return args
        if name in ("gt", "ge"):
            return [make({"gt": "lt", "ge": "le"}[name], args[1], args[0])]
        if name == "select_n" and len(args) == 3:
            return [make("select", args[0], args[2], args[1])]
        if name in ("integer_pow", "square"):
            return [self.builder.power(args[0], params.get("y", 2))]
        return [self._composed(equation, args)]

    def _composed(self, equation: Any, args: list[int]) -> int:
        """Primitives made of several operations."""
        name, make, one = equation.primitive.name, self.builder.apply, self.builder.constant(1.0)
        if name == "logistic":
            return make("div", one, make("add", one, make("exp", make("neg", args[0]))))
        if name == "rsqrt":
            return make("div", one, make("sqrt", args[0]))
        if name == "exp2":
            return make("exp", make("mul", args[0], self.builder.constant(float(np.log(2.0)))))
        if name == "pow":
            return self._power(*args)
        if name == "clamp":
            return make("min", make("max", args[1], args[0]), args[2])
        if name == "convert_element_type":
            return self._converted(equation, args[0])
        raise InputError(
            f"{self.name} uses the operation {name!r}, which the compiled kernels do not have; write its rates with "
            "sums, "
            "products, quotients, powers, roots, exponentials, logarithms, tanh, logistic, abs, max, min and where."
        )

    def _power(self, x: int, y: int) -> int:
        exponent = self.builder.instructions[y]
        if exponent.op != "const":
            return self.builder.apply("pow", x, y)
        twice = 2.0 * float(exponent.data or 0.0)
        if twice != round(twice) or abs(twice) > 64:
            return self.builder.apply("pow", x, y)
        whole = self.builder.power(x, int(twice) // 2)
        return whole if twice % 2 == 0 else self.builder.apply("mul", whole, self.builder.apply("sqrt", x))

    def _converted(self, equation: Any, x: int) -> int:
        source, target = equation.invars[0].aval.dtype, np.dtype(equation.params["new_dtype"])
        if source.kind == target.kind:
            return x
        if source.kind == "b" and target.kind == "f":
            return self.builder.apply("select", x, self.builder.constant(1.0), self.builder.constant(0.0))
        if target.kind == "b":
            return self.builder.apply("ne", x, self.builder.constant(0.0))
        if source.kind in "iu" and self.builder.instructions[x].op == "const":
            return x
        raise InputError(
            f"{self.name} turns {source} into {target} inside its equations; the kernels compute with floats."
        )


def _invars(closed: Any) -> Any:
    return (closed.jaxpr if hasattr(closed, "jaxpr") else closed).invars
