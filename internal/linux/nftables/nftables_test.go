package nftables

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/linux/netlink"
)

// privateNet moves the test into a network namespace of its own, on a thread that ends with it.
func privateNet(t *testing.T) *Conn {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft to read the rules back")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// objects returns what `nft -j list ruleset` has of a kind, as JSON without handles.
func objects(t *testing.T, kind string) (list []string) {
	t.Helper()
	out, err := exec.Command("nft", "-j", "-n", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Nftables []map[string]map[string]any `json:"nftables"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	for _, o := range doc.Nftables {
		if body, ok := o[kind]; ok {
			delete(body, "handle")
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, string(text))
		}
	}
	return list
}

func same(t *testing.T, kind string, want ...string) {
	t.Helper()
	if got := objects(t, kind); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("nft has these of %s:\n%s\nwant:\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNftReadsWhatWasMeant(t *testing.T) {
	c := privateNet(t)
	b := NewBatch("t")
	b.AddTable()
	b.AddMap(Map{Name: "m", KeyType: Concat(TypeProtocol, TypePort), KeyLen: 8, DataType: Concat(TypeIPv4, TypePort), DataLen: 8})
	b.AddChain(Chain{Name: "in", Type: "nat", Hook: unix.NF_INET_PRE_ROUTING, Priority: -100})
	b.AddChain(Chain{Name: "fw", Type: "filter", Hook: unix.NF_INET_FORWARD, Priority: 5})
	b.AddRule("in", append(LocalDestination(R0), Meta(MetaProtocol, R0), DestinationPort(R0+1), Lookup("m", R0, R0), DNAT(R0, R0+1))...)
	b.AddRule("fw", Meta(MetaInName, R0), NotEqual(R0, InterfaceName("lo")), SourceIP(R0), And(R0, []byte{255, 255, 0, 0}), Equal(R0, []byte{10, 1, 0, 0}), Drop())
	b.AddRule("fw", Ct(CtState, R0), And(R0, Number(StateEstablished|StateRelated)), NotEqual(R0, Number(0)), Accept())
	if err := c.Commit(b); err != nil {
		t.Fatal(err)
	}
	same(t, "table", `{"family":"ip","name":"t"}`)
	same(t, "chain", `{"family":"ip","hook":"prerouting","name":"in","policy":"accept","prio":-100,"table":"t","type":"nat"}`,
		`{"family":"ip","hook":"forward","name":"fw","policy":"accept","prio":5,"table":"t","type":"filter"}`)
	same(t, "rule",
		`{"chain":"in","expr":[{"match":{"left":{"fib":{"flags":["daddr"],"result":"type"}},"op":"==","right":2}},{"dnat":{"addr":{"map":{"data":"@m","key":{"concat":[{"meta":{"key":"l4proto"}},{"payload":{"field":"dport","protocol":"th"}}]}}},"family":"ip"}}],"family":"ip","table":"t"}`,
		`{"chain":"fw","expr":[{"match":{"left":{"meta":{"key":"iifname"}},"op":"!=","right":"lo"}},{"match":{"left":{"payload":{"field":"saddr","protocol":"ip"}},"op":"==","right":{"prefix":{"addr":"10.1.0.0","len":16}}}},{"drop":null}],"family":"ip","table":"t"}`,
		`{"chain":"fw","expr":[{"match":{"left":{"ct":{"key":"state"}},"op":"in","right":[2,4]}},{"accept":null}],"family":"ip","table":"t"}`)
	if n, err := c.CountRules("t"); n != 3 || err != nil {
		t.Errorf("%d rules, %v", n, err)
	}
	if n, err := c.CountRules("nosuch"); n != 0 || err != nil {
		t.Errorf("%d rules in no table, %v", n, err)
	}
}

func TestElements(t *testing.T) {
	c := privateNet(t)
	commit := func(fill func(*Batch)) error {
		b := NewBatch("t")
		fill(b)
		return c.Commit(b)
	}
	key, to, other := []byte{6, 0, 0, 0, 31, 144, 0, 0}, []byte{172, 17, 0, 2, 0, 80, 0, 0}, []byte{172, 17, 0, 3, 0, 80, 0, 0}
	if err := commit(func(b *Batch) { b.AddElement("m", key, to) }); !errors.Is(err, unix.ENOENT) {
		t.Errorf("an element without a table: %v", err)
	}
	err := commit(func(b *Batch) {
		b.AddTable()
		b.AddMap(Map{Name: "m", KeyType: Concat(TypeProtocol, TypePort), KeyLen: 8, DataType: Concat(TypeIPv4, TypePort), DataLen: 8})
	})
	if err != nil {
		t.Fatal(err)
	}
	const head, tail = `{"elem":[[{"concat":[6,8080]},{"concat":["172.17.0.2",80]}]],`, `"family":"ip","map":"ipv4_addr . inet_service","name":"m","table":"t","type":["inet_proto","inet_service"]}`
	for range 2 { // to say it twice is no error
		if err := commit(func(b *Batch) { b.AddElement("m", key, to) }); err != nil {
			t.Error(err)
		}
		same(t, "map", head+tail)
	}
	// A batch is made whole or not at all.
	if err := commit(func(b *Batch) { b.DeleteElement("m", key); b.AddElement("nosuch", key, to) }); !errors.Is(err, unix.ENOENT) {
		t.Errorf("an element of no map: %v", err)
	}
	if err := commit(func(b *Batch) { b.AddElement("m", key, other) }); err == nil {
		t.Error("a key was led elsewhere")
	}
	same(t, "map", head+tail)
	if err := commit(func(b *Batch) { b.DeleteElement("m", key) }); err != nil {
		t.Error(err)
	}
	same(t, "map", "{"+tail)
	if err := commit(func(b *Batch) { b.DeleteElement("m", key) }); !errors.Is(err, unix.ENOENT) {
		t.Errorf("deleted twice: %v", err)
	}
}

// A kernel without nf_tables refuses a batch by its first message and says no more.
func TestRefusedBatch(t *testing.T) {
	privateNet(t)
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	const noSubsystem = unix.NFNL_SUBSYS_CTNETLINK // which knows no batches: the same answer
	begin := netlink.NewMessage(unix.NFNL_MSG_BATCH_BEGIN, 0, genmsg(0, noSubsystem)).NoAck()
	body := netlink.NewMessage(noSubsystem<<8, 0, genmsg(unix.NFPROTO_IPV4, 0))
	end := netlink.NewMessage(unix.NFNL_MSG_BATCH_END, 0, genmsg(0, noSubsystem)).NoAck()
	if err := nl.Do(begin, body, end); !Missing(err) {
		t.Errorf("got %v", err)
	}
	if Missing(unix.EPERM) || Missing(nil) {
		t.Error("what is not permitted is not missing")
	}
}
