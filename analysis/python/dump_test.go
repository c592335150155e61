package python

import (
	"fmt"
	"reflect"
	"strings"
)

// dump writes a node as an S-expression: (Type field… ). Spans are left out, nil
// expressions are "_", zero fields without a meaning of their own are dropped.
func dump(v any) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(v))
	return b.String()
}

func write(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			b.WriteString("_")
			return
		}
		write(b, v.Elem())
	case reflect.Slice:
		b.WriteString("[")
		for i := range v.Len() {
			if i > 0 {
				b.WriteString(" ")
			}
			write(b, v.Index(i))
		}
		b.WriteString("]")
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	case reflect.Struct:
		switch x := v.Interface().(type) {
		case Name:
			b.WriteString(x.ID)
			return
		case Lit:
			b.WriteString(x.Kind + ":" + x.Text)
			return
		}
		b.WriteString("(" + v.Type().Name())
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Type == reflect.TypeFor[Span]() || f.Type.Kind() == reflect.Uint32 {
				continue
			}
			if f.Type.Kind() == reflect.Bool || f.Type.Kind() == reflect.Int {
				if !v.Field(i).IsZero() {
					fmt.Fprintf(b, " %s", f.Name)
					if f.Type.Kind() == reflect.Int {
						fmt.Fprint(b, v.Field(i))
					}
				}
				continue
			}
			if v.Field(i).IsZero() && f.Type.Kind() != reflect.Interface {
				continue
			}
			if v.Field(i).Kind() == reflect.Interface && v.Field(i).IsNil() {
				continue
			}
			fmt.Fprintf(b, " %s=", f.Name)
			write(b, v.Field(i))
		}
		b.WriteString(")")
	default:
		panic(v.Kind())
	}
}
