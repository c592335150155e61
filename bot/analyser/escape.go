package analyser

import (
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON replaces bytes that are no UTF-8, and findings quote code that may be
// Latin-1. In an answer each such byte is therefore written as mark, which is no
// character, and two hexadecimal digits.
const mark = '\U0010ffff'

// escape makes a text UTF-8; unescape is its inverse.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsRune(s, mark) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == mark || r == utf8.RuneError && n == 1 {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteRune(mark)
				b.WriteByte("0123456789abcdef"[c>>4])
				b.WriteByte("0123456789abcdef"[c&15])
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// unescape leaves alone what escape does not write.
func unescape(s string) string {
	if !strings.ContainsRune(s, mark) {
		return s
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, string(mark))
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if len(after) >= 2 {
			if c, err := strconv.ParseUint(after[:2], 16, 8); err == nil {
				b.WriteByte(byte(c))
				s = after[2:]
				continue
			}
		}
		b.WriteRune(mark)
		s = after
	}
}

// texts returns a copy of v with every string in it, keys of maps too, put
// through change. It is for plain data without cycles. The copy shares nothing
// that holds strings with v: a finding may be reached in several ways, and its
// strings must be changed once.
func texts(v reflect.Value, change func(string) string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(change(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(texts(v.Field(i), change))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(texts(v.Elem(), change))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(texts(v.Index(i), change))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for key, value := range v.Seq2() {
				out.SetMapIndex(texts(key, change), texts(value, change))
			}
		}
	default: // numbers and truth values
		out.Set(v)
	}
	return out
}

// changed is texts of an answer.
func (a answer) changed(change func(string) string) answer {
	return texts(reflect.ValueOf(a), change).Interface().(answer)
}
