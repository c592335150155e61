// Package check is the driver of the analysis: it parses and evaluates the
// files of a change, gathers the signs of half precision in them, runs the
// rules, and keeps the findings that the change brings in and that no comment
// in the code silences.
//
// What the change brings in is decided in three steps. A finding must touch, by
// its place or by a step of its chain of reasons, a line that is really new: an
// added line that is neither blank nor equal to a removed line of any file but
// for white space, and whose statement does not stand in the base in another
// layout. Then the base is analysed in the same way, and a finding whose
// fingerprint stands there with the same or more confidence is known.
//
// A rule that panics loses its own findings in that file and nothing else.
//
// It does no I/O, makes no suggestions, and does not decide what is posted.
package check
