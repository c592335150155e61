package python

// The tree is copied out of C at once: one cgo call per file instead of about
// five per node, and no pointer into C is left in the tree that the rest of the
// program works on. This file and parse.go are the only ones that know tree-sitter.

/*
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

// The binding compiles tree-sitter without installing its header, so the few
// functions that are needed are declared here. They are weak because the Go tool
// links this package alone once, before the objects of the binding are there.
typedef struct { uint32_t context[4]; const void *id; const void *tree; } TSNode;
typedef struct { const void *tree; const void *id; uint32_t context[3]; } TSTreeCursor;

extern TSTreeCursor ts_tree_cursor_new(TSNode) __attribute__((weak));
extern void ts_tree_cursor_delete(TSTreeCursor *) __attribute__((weak));
extern TSNode ts_tree_cursor_current_node(const TSTreeCursor *) __attribute__((weak));
extern uint16_t ts_tree_cursor_current_field_id(const TSTreeCursor *) __attribute__((weak));
extern bool ts_tree_cursor_goto_first_child(TSTreeCursor *) __attribute__((weak));
extern bool ts_tree_cursor_goto_next_sibling(TSTreeCursor *) __attribute__((weak));
extern bool ts_tree_cursor_goto_parent(TSTreeCursor *) __attribute__((weak));
extern uint16_t ts_node_symbol(TSNode) __attribute__((weak));
extern uint32_t ts_node_start_byte(TSNode) __attribute__((weak));
extern uint32_t ts_node_end_byte(TSNode) __attribute__((weak));
extern uint32_t ts_node_child_count(TSNode) __attribute__((weak));
extern bool ts_node_is_named(TSNode) __attribute__((weak));
extern bool ts_node_is_missing(TSNode) __attribute__((weak));

typedef struct {
	uint32_t start, end;    // byte offsets
	uint32_t next;          // index just past this subtree
	uint16_t symbol, field;
	uint32_t flags;         // 1 named, 2 missing, 4 children left out
} flat_node;

// flatten writes the tree in preorder down to max_depth. It does not recurse.
// It returns false when memory ran out; *out is for the caller to free.
static bool flatten(TSNode root, uint32_t max_depth, flat_node **out, uint32_t *count) {
	uint32_t cap = 1024, n = 0, depth = 0;
	flat_node *v = malloc((size_t)cap * sizeof *v);
	uint32_t *stack = malloc(((size_t)max_depth + 1) * sizeof *stack);
	if (!v || !stack) {
		free(v);
		free(stack);
		return false;
	}
	TSTreeCursor c = ts_tree_cursor_new(root);
	for (;;) {
		if (n == cap) {
			flat_node *w = cap > UINT32_MAX / 2 ? NULL : realloc(v, (size_t)cap * 2 * sizeof *v);
			if (!w) {
				ts_tree_cursor_delete(&c);
				free(stack);
				free(v);
				return false;
			}
			v = w;
			cap *= 2;
		}
		TSNode node = ts_tree_cursor_current_node(&c);
		uint32_t me = n++;
		v[me] = (flat_node){
			ts_node_start_byte(node), ts_node_end_byte(node), 0,
			ts_node_symbol(node), ts_tree_cursor_current_field_id(&c),
			(uint32_t)ts_node_is_named(node) | (uint32_t)ts_node_is_missing(node) << 1,
		};
		if (depth >= max_depth) {
			if (ts_node_child_count(node) > 0) v[me].flags |= 4;
		} else if (ts_tree_cursor_goto_first_child(&c)) {
			stack[depth++] = me;
			continue;
		}
		v[me].next = n;
		while (!ts_tree_cursor_goto_next_sibling(&c)) {
			if (depth == 0) goto done;
			ts_tree_cursor_goto_parent(&c);
			v[stack[--depth]].next = n;
		}
	}
done:
	ts_tree_cursor_delete(&c);
	free(stack);
	*out = v;
	*count = n;
	return true;
}
*/
import "C"

import (
	"unsafe"

	sitter "github.com/smacker/go-tree-sitter"
)

// A flatNode is one node of the tree-sitter tree. Nodes lie in preorder: the
// first child of node i is i+1, its next sibling is next. The layout is that of
// flat_node in C.
type flatNode struct {
	start, end    uint32 // byte offsets
	next          uint32 // index just past the subtree
	symbol, field uint16
	flags         uint32
}

const (
	flagNamed   = 1 << iota // not just punctuation or a keyword
	flagMissing             // put in by error recovery, zero bytes wide
	flagCut                 // its children lie too deep and were left out
)

// flatten copies the tree under root, down to maxDepth. The nodes lie in C memory
// of their own, which free gives back. It reports false when C has no memory left.
func flatten(root *sitter.Node, maxDepth int) (nodes []flatNode, free func(), ok bool) {
	// The TSNode is the first field of sitter.Node (TestNodeLayout). It is copied
	// because a pointer to it would point into Go memory that holds Go pointers.
	node := *(*C.TSNode)(unsafe.Pointer(root))
	var out *C.flat_node
	var count C.uint32_t
	if !C.flatten(node, C.uint32_t(maxDepth), &out, &count) {
		return nil, nil, false
	}
	free = func() { C.free(unsafe.Pointer(out)) }
	return unsafe.Slice((*flatNode)(unsafe.Pointer(out)), count), free, true
}
