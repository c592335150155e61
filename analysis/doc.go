// Package analysis holds the vocabulary of the analyser, the types that its
// stages hand to each other: a File with its hunks goes in, Findings with their
// Fixes come out, a Rule is what looks, a Pass is what it sees. The stages
// themselves are the packages below this one. This is their story.
//
// # From text to findings
//
// Package python parses a file with tree-sitter, copies the whole tree out of C
// memory in one call and lowers the copy to a small typed syntax tree. Bad
// syntax costs the statement that it stands in, never the file.
//
// Package dtype is arithmetic: what is known of one value's dtype is a set of at
// most eight alternatives, each an exact dtype, a root ("the dtype that parameter
// points has, whatever it is"), the default dtype, or the promotion of several of
// these. More alternatives than that, and everything that is not understood, are
// Unknown. Promotion on this lattice agrees with PyTorch's result_type.
//
// Package torch is data: what each function of PyTorch and NumPy does to dtypes,
// measured by running them.
//
// Package interp evaluates a file over the lattice: every function once, with a
// root for each parameter. Its Facts list the operations that could refuse their
// operands, with what is known of each operand and where that came from. It does
// not judge.
//
// Package rules judges. A rule asks two questions of each operation: can the
// operands really differ, and does anything in the code say that they do? The
// second question gives the confidence:
//
//   - proof: both dtypes are known on every path. Certain.
//   - a sign: one dtype is known, the other is a root, and the function or its
//     class shows that it varies: it copies a tensor's device and not its dtype,
//     propagates a dtype elsewhere, names half precision, or casts up to compute.
//     Likely.
//   - siblings: the other operands of the call are cast to one dtype and this
//     one is not. Likely.
//   - geometry: homogeneous points meet a matrix that is used as nothing else,
//     and the function or another touched file uses half precision. Likely.
//   - nothing of the kind. Possible: counted and listed, not posted.
//
// Package project knows the rest of the repository, as a value: summaries of its
// files, linked by their imports. Where a file alone leaves an operand open, it
// may tell its dtype: what every caller passes, what a script casts the model to,
// what a data set fills a dictionary's key with. That is the fifth kind of
// evidence, a contract, and it is likely; where callers agree, it is silence.
//
// Package check drives all that for the files of one change and keeps what the
// change brings in: it evaluates the file before the change as well, and knows
// moved and reformatted lines from new ones. Package patch reads diffs for it.
//
// A rule's fix is a proposal. Package suggestions, outside this tree, applies it,
// runs check on the result, and drops what does not hold.
//
// # What it believes
//
// The analyser is neither sound nor complete, and it errs on the silent side.
// Unknown never alarms: not an operand, not an index, not a rank. Two equal roots
// are equal dtypes whatever they are, which keeps code that is generic in its
// dtype silent. An operation is certain to fail only if it fails on every
// alternative of its path. Names choose words and the direction of a fix, never
// a confidence. A silent promotion is no finding by itself: it has to reach an
// operation that stops there.
//
// # What it refuses
//
// Nothing here runs or imports the code that it reads, needs a Python
// interpreter, or does I/O: text goes in, values come out. Work is bounded: size
// and parse time of a file, depth of the tree, steps of the evaluation, time per
// file. What exceeds a bound is reported as skipped or as evaluated in part.
//
// # What it does not do
//
// It evaluates each file by itself: what comes from another file is a root, of
// which the contracts of package project may tell the dtype, and a branch on it
// is taken both ways. It does not compute shapes, devices or values,
// but for the difference between 0-dim and other tensors, which promotion needs.
// It does not find numerical trouble inside one dtype, such as overflow in
// float16. It gives no advice on style or speed, and it does not decide what is
// posted.
package analysis
