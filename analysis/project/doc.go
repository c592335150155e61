// Package project knows the rest of a repository: what its other files say of
// the values of the file that is looked at.
//
// # Summaries and the index
//
// A Module is the summary of one Python file, made from what the evaluator found
// in it: its imports, its functions and classes with the dtypes of what they
// return and hold as functions of their roots, its calls with what they pass,
// its casts of models, the dictionary keys that it fills, and the signs of half
// and double precision. It depends on the text alone, so it is stored by the
// hash of its blob. An Index is the Modules of one revision by path; it is a
// value that is encoded, compact and versioned.
//
// What an Index lacks can be read later: Wants names the files whose summaries
// would tell something of given ones.
//
// # Linking
//
// Link follows names between Modules: absolute and relative imports, packages,
// re-exports, bases of classes. It then knows which functions call which, with
// what, and under which autocast region; which classes a model consists of; and
// what a model is cast to. From that it derives Contracts, what other places say
// of a root of the file that is looked at:
//
//   - a parameter has the dtype that every known caller passes;
//   - what an imported function returns has the dtype that its summary gives for
//     the arguments;
//   - the parameters and buffers of a class have the dtype that its model is cast
//     to, if every cast of it agrees and every instance that is seen to be made is
//     cast;
//   - batch["key"] has the dtype that a data set fills the key with, if every
//     fill of that key in the repository agrees and nothing casts the values of
//     a batch without naming them.
//
// # What makes it silent
//
// A contract needs agreement. An unknown caller, two keys of one name with
// different dtypes, a model that an engine wraps or that is cast twice, a changed
// default dtype: nothing is known. Tests and vendored code do not count. A
// function that some caller reaches under autocast is marked as covered.
//
// # What it does not do
//
// It reads nothing: texts and values come in. It does not evaluate a file again
// for what another file passes to it, so a branch on a dtype is taken both ways.
// It knows what a class is, not an instance: where one model of a class is cast and
// another is not, nothing is known of either.
// It does not follow names that are set by assignment from outside of a module,
// by importlib, or through containers.
package project
