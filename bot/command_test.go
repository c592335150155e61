package bot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtypebot/dtypebot/bot"
)

func TestParseOrder(t *testing.T) {
	for _, test := range []struct {
		body string
		want bot.Order
		ok   bool
	}{
		{"@dtypebot review", bot.Order{Verb: "review"}, true},
		{"Thanks!\n\n  @DTypeBot Review.\nplease", bot.Order{Verb: "review"}, true},
		{"@dtypebot[bot] explain", bot.Order{Verb: "explain"}, true},
		{"@dtypebot: ignore `matmul-mixed-dtype`, cast-without-effect", bot.Order{Verb: "ignore", Args: []string{"matmul-mixed-dtype", "cast-without-effect"}}, true},
		{"@dtypebot", bot.Order{Verb: "help"}, true},
		{"@dtypebot dance", bot.Order{Verb: "dance"}, true},
		{"", bot.Order{}, false},
		{"ask @dtypebot review", bot.Order{}, false},
		{"> @dtypebot fix", bot.Order{}, false},
		{"```\n@dtypebot fix\n```", bot.Order{}, false},
		{"````\n```\n@dtypebot fix\n````\n@dtypebot help", bot.Order{Verb: "help"}, true},
		{"~~~\n@dtypebot fix", bot.Order{}, false},
		{"    @dtypebot fix", bot.Order{}, false},
		{"@dtypebots fix", bot.Order{}, false},
		{"@dtypebot-fan fix", bot.Order{}, false},
	} {
		got, ok := bot.ParseOrder(test.body, "dtypebot[bot]")
		if diff := cmp.Diff(test.want, got); diff != "" || ok != test.ok {
			t.Errorf("%q: %v %s", test.body, ok, diff)
		}
	}
	if _, ok := bot.ParseOrder("@ fix", ""); ok {
		t.Error("an order to nobody")
	}
}
