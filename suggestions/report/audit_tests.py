"""Runs what dtypebot's audit of NAME names, in float32, bfloat16 and float64, each
plain and under autocast: nothing may raise, what is returned has the expected dtype
and is finite. Values are not compared: in bfloat16 they are off by up to 1 in 256.

    python3 -m unittest FILE        or        pytest FILE

It needs PyTorch and nothing else, and finds the project from its own folder upward
(or in PROJECT_ROOT). Inputs are made of the shapes that the code documents; where it
does not, shapes are tried until the function runs in float32. A function for which no
input is found is skipped, and says why. Arguments marked own=True are cast by the
function itself: cameras, masks, tables. They stay float32.
"""

import heapq
import importlib
import itertools
import os
import sys
import unittest

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
TRIES = 600  # inputs that are tried for one function


def tensor(*dims, rank=0, kind="", own=False):
    """An argument that is a tensor. dims are numbers and names, empty if not known."""
    return {"dims": dims, "rank": rank, "kind": kind, "own": own}


def project():
    """The folder that the cases' files are relative to."""
    here = os.path.dirname(os.path.abspath(__file__))
    start = [os.environ["PROJECT_ROOT"]] if os.environ.get("PROJECT_ROOT") else [here, os.getcwd()]
    for folder in start:
        while True:
            if CASES and os.path.exists(os.path.join(folder, CASES[0]["path"])):
                return folder
            if folder == os.path.dirname(folder):
                break
            folder = os.path.dirname(folder)
    return start[0]


def candidates(argument, sizes, known):
    """The shapes and kinds to try for one tensor, the likeliest first."""
    if argument["dims"]:
        shapes = [tuple(size(d, sizes) for d in argument["dims"])]
    else:
        widths = sorted(set(sizes.values()) - {1, 2, 5})
        shapes = [s for one in known for s in (one, one[:-1], *((*one[:-1], n) for n in widths), one[:1])]
        for n in widths:
            shapes += [(2, n), (2, 5, n), (2, n, 3), (2, n, 8, 8)]
        shapes += [(2, 5, 3), (2, 5, 4), (2, 5), (2, 3), (2, 3, 3), (2, 5, 3, 3), (2, 3, 8, 8), (2, 1, 8, 8), (3, 3), (4, 4), (2,), ()]
        shapes = list(dict.fromkeys(shapes))
        shapes = [s for s in shapes if argument["rank"] in (0, len(s))]
        if not shapes:
            shapes = [(2,) * argument["rank"]]
    kinds = [argument["kind"]] if argument["kind"] else ["float", "bool", "int"]
    ranked = [(i + (25 if len(shapes[0]) > 2 else 10) * k, shape, kind) for k, kind in enumerate(kinds) for i, shape in enumerate(shapes)]
    return sorted(ranked, key=lambda one: one[0])


def size(dim, sizes):
    """The number that a documented size stands for: the same for the same name."""
    if isinstance(dim, int):
        return dim
    if dim not in sizes:
        taken = set(sizes.values())
        sizes[dim] = next(n for n in (2, 5, 7, 6, 9, 11, 13, 10, 12, 14, 15) if n not in taken or n == 15)
    return sizes[dim]


def make(shape, kind, dtype):
    """A tensor of numbers between 0.5 and 1, of booleans, or of ids 0 and 1."""
    if kind == "bool":
        values = torch.ones(shape, dtype=torch.bool)
        if values.dim() and values.shape[-1] > 1:
            values[..., -1] = False
        return values
    if kind == "int":
        return torch.randint(0, 2, shape)
    return (torch.rand(shape) * 0.5 + 0.5).to(dtype)


def choices(case):
    """Ways to fill the tensor arguments, the likeliest first."""
    sizes = dict(case["sizes"])
    named = [(name, a) for name, a in case["arguments"].items() if isinstance(a, dict)]
    known = [tuple(size(d, sizes) for d in a["dims"]) for _, a in named if a["dims"]]
    lists = [candidates(a, sizes, known) for _, a in named]
    alike = [one if not a["dims"] else one[:1] for one, (_, a) in zip(lists, named)]
    first = [[one[min(i, len(one) - 1)] for one in alike] for i in range(max(map(len, alike), default=1))]
    for way in itertools.islice(itertools.chain(first, cheapest(lists)), TRIES):
        yield {name: one[1:] for (name, _), one in zip(named, way)}


def cheapest(lists):
    """Every choice of one from each list, by the sum of their ranks."""
    start = (0,) * len(lists)
    heap, seen = [(0, start)], {start}
    while heap:
        _, indices = heapq.heappop(heap)
        yield [one[i] for one, i in zip(lists, indices)]
        for k, i in enumerate(indices):
            after = (*indices[:k], i + 1, *indices[k + 1 :])
            if i + 1 < len(lists[k]) and after not in seen:
                seen.add(after)
                heapq.heappush(heap, (sum(one[i][0] for one, i in zip(lists, after)), after))


def call(case, way, dtype, autocast=False):
    """Calls a case's function and returns its tensors in order."""
    module = importlib.import_module(case["module"])
    torch.manual_seed(0)
    target = module
    if case["make"]:
        target = eval(case["make"], vars(module))
        if isinstance(target, torch.nn.Module):
            target = target.to(dtype).eval()
    elif case["owner"]:
        target = getattr(module, case["owner"])
    function = target if case["name"] == "forward" else getattr(target, case["name"])
    arguments = {}
    for name, a in case["arguments"].items():
        if isinstance(a, dict):
            shape, kind = way[name]
            arguments[name] = make(shape, kind, torch.float32 if a["own"] else dtype)
        else:
            arguments[name] = a
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        return flat(function(**arguments))


def flat(value):
    """The tensors inside a result, in order."""
    if torch.is_tensor(value):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for one in value for t in flat(one)]
    return []


def finite(tensors):
    return all(torch.isfinite(t.float()).all() for t in tensors if not t.is_complex())


def inputs(case):
    """The first inputs with which the function runs in float32, or why there are none."""
    if "way" not in case:
        case["way"], case["why"] = None, "its arguments are not known"
        if case["bar"]:
            case["why"] = case["bar"]
            return None
        for way in choices(case):
            try:
                if finite(call(case, way, torch.float32)):
                    case["way"] = way
                    break
                case["why"] = "no input was found for which it is finite in float32"
            except Exception as err:  # whatever does not fit
                case["why"] = f"no input was found that it takes: {type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}"
                if isinstance(err, ImportError):
                    break
    return case["way"]


class TestDtypes(unittest.TestCase):
    def run_case(self, case, name, autocast):
        way = inputs(case)
        if way is None:
            self.skipTest(case["why"])
        try:
            tensors = call(case, way, DTYPES[name], autocast)
        except RuntimeError as err:
            if "not implemented for" in str(err):
                self.skipTest(f"this PyTorch cannot do it on the CPU: {err}")
            raise
        expected = case["returns"].get(name) or []
        if len(expected) != len(tensors):
            expected = [None] * len(tensors)
        for tensor, want in zip(tensors, expected):
            got = str(tensor.dtype).replace("torch.", "")
            if want and autocast and tensor.is_floating_point():
                self.assertIn(got, {want, "bfloat16", "float32"})
            elif want:
                self.assertEqual(got, want)
        self.assertTrue(finite(tensors), "a result is not finite")


def add(case, dtype, autocast):
    name = f"test_{case['label']}_{dtype}_{'autocast' if autocast else 'plain'}"
    setattr(TestDtypes, name, lambda self: self.run_case(case, dtype, autocast))


# The functions, how to make their objects, their arguments, and the dtypes of what
# they return by the dtype of the run (None: not known).
CASES = [
# CASES
]

for each in CASES:
    for of, mode in itertools.product(DTYPES, (False, True)):
        add(each, of, mode)
sys.path.insert(0, project())

if __name__ == "__main__":
    unittest.main()
