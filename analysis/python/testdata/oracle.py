"""Prints what CPython's own parser finds in source files.

Reads paths from standard input, prints one JSON line per path: a sorted list of
[kind, start, end] with the kinds of this package, or null for a file that
CPython refuses. Offsets are bytes. An expression has no end, because CPython
leaves brackets out, and what stands in an f-string has no start, because
CPython before 3.12 does not know it.
"""
import ast
import io
import json
import re
import sys
import tokenize
import warnings

warnings.simplefilter("ignore")

STMTS = {
    "FunctionDef": "FuncDef", "AsyncFunctionDef": "FuncDef", "ClassDef": "ClassDef", "Return": "Return",
    "Delete": "Delete", "Assign": "Assign", "AugAssign": "Assign", "AnnAssign": "Assign", "For": "For",
    "AsyncFor": "For", "While": "While", "If": "If", "With": "With", "AsyncWith": "With", "Match": "Match",
    "Raise": "Raise", "Try": "Try", "TryStar": "Try", "Assert": "Assert", "Import": "Import",
    "ImportFrom": "Import", "Global": "Global", "Nonlocal": "Global", "Expr": "ExprStmt", "Pass": "Branch",
    "Break": "Branch", "Continue": "Branch", "TypeAlias": "BadStmt",
}
EXPRS = {
    "NamedExpr": "Walrus", "BinOp": "Binary", "UnaryOp": "Unary", "Lambda": "Lambda", "IfExp": "Cond",
    "Dict": "Dict", "Set": "Seq", "List": "Seq", "Tuple": "Seq", "ListComp": "Comp", "SetComp": "Comp",
    "DictComp": "Comp", "GeneratorExp": "Comp", "Await": "Await", "Yield": "Yield", "YieldFrom": "Yield",
    "Compare": "Compare", "Call": "Call", "JoinedStr": "Str", "Starred": "Starred", "Attribute": "Attribute",
    "Subscript": "Subscript", "Name": "Name", "Slice": "Slice", "BoolOp": "BoolOp",
}
# An expression begins behind the brackets and white space before it.
SKIP = re.compile(rb"(?:[\s(]|\\\r?\n|#[^\r\n]*)*")
LINE = re.compile(rb"\r\n|\r|\n")


def facts(source):
    lines = [0] + [m.end() for m in LINE.finditer(source)]
    out = []

    def at(line, col):
        return lines[line - 1] + col

    def visit(node, inside):
        name = type(node).__name__
        if name in STMTS:
            start, end = at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)
            if getattr(node, "decorator_list", None):
                first = node.decorator_list[0]
                start = source.rindex(b"@", 0, at(first.lineno, first.col_offset))
            if hasattr(node, "body"):
                end = len(source[:end].rstrip(b"; \t"))
            out.append([STMTS[name], start, end])
            if name == "TypeAlias":
                return
        elif name in EXPRS or name == "Constant":
            kind = EXPRS.get(name)
            if name == "Constant":
                kind = "Str" if isinstance(node.value, (str, bytes)) else "Lit"
            start = 0 if inside else SKIP.match(source, at(node.lineno, node.col_offset)).end()
            for _ in range(len(node.values) - 1 if name == "BoolOp" else 1):
                out.append([kind, start, 0])
        elif isinstance(node, getattr(ast, "pattern", ())):
            return
        if name == "JoinedStr":
            for value in node.values:
                if isinstance(value, ast.FormattedValue):
                    visit(value.value, True)
                    if value.format_spec:
                        for part in value.format_spec.values:
                            if isinstance(part, ast.FormattedValue):
                                visit(part, True)
            return
        if name == "FormattedValue":
            visit(node.value, True)
            if node.format_spec:
                for part in node.format_spec.values:
                    if isinstance(part, ast.FormattedValue):
                        visit(part, True)
            return
        for field, value in ast.iter_fields(node):
            if (name, field) == ("NamedExpr", "target") or field == "type_params":
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child, inside)

    visit(ast.parse(source), False)
    out.sort()
    return out


sys.setrecursionlimit(10000)
for line in sys.stdin:
    with open(line.rstrip("\n"), "rb") as file:
        text = file.read()
    try:
        if tokenize.detect_encoding(io.BytesIO(text).readline)[0] != "utf-8":
            raise SyntaxError("not UTF-8")
        text.decode("utf-8")
        result = facts(text)
    except (SyntaxError, ValueError, RecursionError):
        result = None
    print(json.dumps(result, separators=(",", ":")), flush=True)
