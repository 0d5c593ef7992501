"""Single faults in Python code, as changes of its syntax tree: operators, comparisons, conditions, constants, calls.

Left alone is what no test of behaviour should notice: annotations, decorators, the texts of errors, warnings and logs,
the layout of formatted numbers, and what only a type checker runs.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
TWINS = [("min", "max"), ("any", "all"), ("floor", "ceil"), ("minimum", "maximum"), ("zeros", "ones"), ("sin", "cos")]
TWIN_OF = {one: other for pair in TWINS for one, other in (pair, pair[::-1])}
DROPPED_CALLS = {"abs", "clamp", "clip", "round", "sqrt", "exp", "log", "sorted", "float", "double", "expm1", "log1p"}
MESSAGES = {"warn", "warning", "info", "debug", "error", "print"}
LEFT_ALONE = {"annotation", "returns", "decorator_list", "exc", "cause", "msg", "format_spec"}
KEYWORDS_LEFT_ALONE = {
    *("description", "help"),  # texts
    *("device", "strict"),  # of tensors: one machine has one kind; of zip: lengths that never differ
    *("fontsize", "labelsize", "linewidth", "markersize", "zorder", "ha", "va", "pad", "h_pad", "hspace"),  # looks
}


@dataclass(frozen=True)
class Fault:
    """One changed node of a file's syntax tree."""

    file: Path
    tree: ast.Module
    scope: str  # the classes and functions around it
    in_function: bool  # otherwise it runs when its module is imported
    statement: ast.stmt
    parent: ast.AST
    field: str
    index: int | None  # where the field is a list
    old: ast.AST
    new: ast.AST

    def put(self, node: ast.AST) -> None:
        """Writes a node, the new or the old one, into the tree."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node

    def __str__(self) -> str:
        """Says the same in later versions of the file, as long as the statement and its scope stay the same."""
        self.put(self.new)
        whole = ast.unparse(self.statement).splitlines()
        self.put(self.old)
        statement = next(line for line in whole if not line.startswith("@"))
        changes = f"{ast.unparse(self.old)} -> {ast.unparse(self.new)}"
        return f"{'/'.join(self.file.parts[-3:])} {self.scope}: {changes} in {statement}"


def faults_of(file: Path) -> list[Fault]:
    """All faults that can be planted in a file, in the order of its text."""
    tree = ast.parse(file.read_text())

    def walk(parent: ast.AST, scope: tuple[str, ...], in_function: bool, statement: ast.stmt | None) -> Iterator[Fault]:
        for field, value in ast.iter_fields(parent):
            if field in LEFT_ALONE:
                continue
            for index, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.AST) or is_left_alone(node):
                    continue
                here = node if isinstance(node, ast.stmt) else statement
                if here:
                    condition = field in ("test", "ifs")
                    place = index if isinstance(value, list) else None
                    for new in replacements(node, condition):
                        yield Fault(file, tree, ".".join(scope), in_function, here, parent, field, place, node, new)
                name = [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
                yield from walk(
                    node,
                    (*scope, *name),
                    (field == "body" and isinstance(parent, ast.FunctionDef | ast.Lambda)) or in_function,
                    here,
                )

    return list(walk(tree, (), False, None))


def is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
            return name in MESSAGES
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Compare(left=ast.Name(id="__name__"))):
            return True
        case ast.keyword(arg=name):
            return name in KEYWORDS_LEFT_ALONE
    return False


def replacements(node: ast.AST, condition: bool) -> Iterator[ast.AST]:
    """What a faulty programmer could have written in place of a node; `condition`: its truth decides a branch."""
    match node:
        case ast.BinOp(right=ast.Constant(str()) | ast.JoinedStr()):
            pass  # a path or a text
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(operator)](), right)
        case ast.Compare(left, [operator, *others], right):
            for wrong in COMPARISONS[type(operator)]:
                yield ast.Compare(left, [wrong(), *others], right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(float(value)):
            yield ast.Constant(1.0 if value == 0 else value * 1.1)
        case ast.Return(ast.Tuple([first, second, *rest])):
            yield ast.Return(ast.Tuple([second, first, *rest], ast.Load()))
        case ast.Call():
            yield from other_calls(node)
        case ast.Name() | ast.Attribute() if condition:
            yield ast.UnaryOp(ast.Not(), node)
    if condition and isinstance(node, ast.Call):
        yield ast.UnaryOp(ast.Not(), node)


def other_calls(call: ast.Call) -> Iterator[ast.AST]:
    """Min for max and the like, the value itself for its absolute value and the like, a keyword argument left out."""
    match call.func:
        case ast.Name(name) if name in TWIN_OF:
            yield ast.Call(ast.Name(TWIN_OF[name], ast.Load()), call.args, call.keywords)
        case ast.Attribute(value, name) if name in TWIN_OF:
            yield ast.Call(ast.Attribute(value, TWIN_OF[name], ast.Load()), call.args, call.keywords)
        case ast.Name(name) if name in DROPPED_CALLS and call.args:
            yield call.args[0]
        case ast.Attribute(value, name) if name in DROPPED_CALLS:
            yield call.args[0] if isinstance(value, ast.Name) and value.id in ("torch", "np", "math") else value
    for left_out in call.keywords:
        if not is_left_alone(left_out):
            yield ast.Call(call.func, call.args, [keyword for keyword in call.keywords if keyword is not left_out])


def with_calls(file: Path, name: str) -> ast.Module:
    """The code of a file in which each statement of a function first calls `name(file, line)`."""
    tree = ast.parse(file.read_text())
    blocks = [
        block for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for block in ast.walk(function)
    ]
    for block in {id(block): block for block in blocks}.values():
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(block, field, None)
            if isinstance(statements, list) and not isinstance(block, ast.ClassDef):
                calls = [ast.parse(f"{name}({str(file)!r}, {statement.lineno})").body for statement in statements]
                pairs = zip(calls, statements, strict=True)
                setattr(block, field, [part for call, statement in pairs for part in (*call, statement)])
    return tree
