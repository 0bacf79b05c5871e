package source

import "testing"

func TestWithoutUser(t *testing.T) {
	for in, want := range map[string]string{
		"https://token@host/x.git#main":       "https://host/x.git#main",
		"https://user:pass@host:8443/a@b?c=@": "https://host:8443/a@b?c=@",
		"https://host":                        "https://host",
		"https://a@b@host":                    "https://host",
		"git@host:path.git":                   "git@host:path.git",
	} {
		if got := WithoutUser(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
