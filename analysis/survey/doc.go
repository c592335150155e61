// Package survey lists what one file shows beside its mistakes, for a report on
// a whole repository: where a new tensor follows another one's dtype, which
// operations want one dtype of values that the caller gives, what a data set
// makes float32, and how its functions can be called. LeftAlone names what the
// analysis leaves alone inside a file.
//
// It judges nothing and does no I/O: a survey is facts, put in the order of the
// source. Nothing in it becomes a comment.
package survey
