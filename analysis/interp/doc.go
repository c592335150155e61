// Package interp evaluates one Python file over abstract dtypes. It answers two
// questions: which operations may refuse the dtypes of their operands, and what
// is known of each operand there.
//
// # Values
//
// A Value is a kind (tensor, array, number, module, dtype, sequence, dict,
// function, class, instance and so on), a dtype.Type, a rank class (0, at least
// 1, unknown), and its history: the expression that made it, what that
// expression did to the dtype, and the values it was made from. Rules tell the
// history as the reasons of a finding. Values are immutable, but for the
// attributes of an instance.
//
// A Value is shared by all names that stand for one object: a list, a dictionary or
// a tensor's .data that is changed through one of them changes for all that this
// frame holds.
//
// An open value is a parameter, an attribute or the result of a call of which
// nothing is known. It carries a root and becomes a tensor of that root's dtype
// when it is used as one. There is one root per definition, the same in every
// round of a loop: `x @ x.T` has equal dtypes although nobody knows which. A name
// that the file does not bind, an attribute or an item of what is unknown is one
// definition as well. Unknown is left for what has different kinds on different
// paths, changes in every round of a loop, or has more alternatives than a type
// holds; Facts.Uses counts the operands of which that is so, and tells why.
//
// Where a tensor and a Python number meet, the value is a tensor that may be a
// number, and an operator gives both results. Annotations are promises: of a
// tensor, of a dtype (jaxtyping, torch.LongTensor), of a number.
//
// # Frames
//
// A frame is the variables of one scope, by name and dotted path ("self.cache",
// which holds until self is bound again). Branches run on copies and are joined
// behind them. A name that only one path binds keeps its value, since reading it
// on the other path would be an error of its own; a dotted path is forgotten. A
// condition narrows what it tests: `x is None`, `a.dtype == b.dtype`,
// `x.dtype in (…)`. Loops run until nothing changes; what still changes after
// three rounds is unknown. After a try block, each handler starts from the join
// of the states before and behind the block.
//
// # Summaries
//
// Each function is evaluated once, on demand, with a root for each parameter; an
// annotation or a default may say more. A call takes the summary's result and
// substitutes the arguments' dtypes for the roots. So operations inside a
// function are judged for any caller, and a caller sees what the function makes
// of its arguments. A recursive call, a generator, a coroutine and a Triton kernel
// give an open value.
//
// A call whose arguments are known without any root is evaluated with them, at
// most four calls deep and sixteen times a function, under the caller's autocast
// region; an instance made in sight has what its __init__ left. A small function
// (six statements, no loops) and a lambda are evaluated with any arguments, at
// most 64 times, since a summary cannot say what their branches make of None, of
// a kind or of a dtype. Such an evaluation records nothing but what the call gives
// and that it raises.
//
// Defaults are evaluated where the function is defined. A name of an outer scope that
// gets another value makes the functions that read it be evaluated again, four times
// at most; what they assign by global or nonlocal is unknown behind the call. The
// decorators of this file are called; what another file's decorator makes is the
// function, unless its name says that it casts.
//
// # The default dtype
//
// A statement of the module that sets it, and a context manager with "default"
// and "dtype" in its name, hold for what follows. A function that sets it makes
// it unknown in the whole file.
//
// # Measured operations
//
// An operation whose operands are known without any root is applied by the
// table, in every combination of their alternatives: autocast's casts, what must
// be equal, what promotes with the number of dimensions in mind, the kernel. What
// PyTorch refuses is a Raise; a missing CPU kernel for half precision makes one
// that is not certain. With roots, an operation keeps, promotes or agrees as all
// floating dtypes do.
//
// # Classes
//
// __init__ is evaluated first; what it leaves in self is known in the other
// methods, unless one of them assigns it too. In an nn.Module, parameters,
// floating buffers and submodules follow .to(), so each is a root of its own; a
// plain tensor attribute keeps the dtype that it was made with. Bases are
// followed as far as the file shows them. A call of an instance is a call of its
// forward or __call__; a method of a base that the instance's class overrides in
// part gives an open value, unless the call could be evaluated for this instance.
// A .to() or .half() on an instance makes what its calls give open again, but for
// one made in sight, which keeps what its own __init__ left. An attribute that is
// set from outside its class is open in the methods.
//
// # Autocast
//
// Regions are lexical: a with statement or a decorator. Inside one, each result
// follows the measured policy of its operation and of the region's device;
// float64 and integers are left alone. A region that may be off (enabled=flag,
// an accelerator's own autocast) makes the results unknown. An Op records the
// innermost region, and the rule decides what that means.
//
// # Budgets
//
// An evaluation takes at most 200 steps per line and at least 200,000 in all
// (Options.Steps), goes from callers into callees at most 12 deep, and takes calls
// nested more than 200 deep for unknown. When the steps run out, Facts.Exhausted
// is set and what was not reached is silent.
//
// # What it does not do
//
// It does not follow imports beyond recognising PyTorch's and NumPy's names,
// compute sizes or values, run anything, or track aliases through attributes and items. An Op
// says what is known of an operand whoever calls, not what one caller makes of
// it. It does no I/O, reports no errors, and judges nothing: a Facts with an
// operation that must fail is not yet a finding.
package interp
