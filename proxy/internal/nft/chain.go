package nft

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// chain is a chain with its rules.
type chain struct {
	name  string
	hook  *hook // of a base chain
	rules []rule
}

// hook is where a base chain is called.
type hook struct {
	kind     string // filter or nat
	number   uint32
	priority int32
}

// rule is a rule. Its anonymous sets are named by lookups as "#0", "#1".
type rule struct {
	exprs   exprs
	sets    []set
	comment string
}

func plain(parts ...exprs) rule { return rule{exprs: cat(parts...)} }

// commented gives a rule a comment.
func (r rule) commented(text string) rule {
	r.comment = text
	return r
}

// dispatch ends in a constant verdict map, keyed by the number in reg0.
func dispatch(before exprs, elements []constant) rule {
	return rule{
		exprs: cat(before, exprs{&expr.Lookup{SourceRegister: reg0, SetName: "#0", DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}}),
		sets:  []set{{key: []nftables.SetDatatype{nftables.TypeMark}, flags: unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT | unix.NFT_SET_MAP, elements: elements}},
	}
}

func (b *batch) addChain(table string, c chain) {
	at := b.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "chain "+c.name)
	b.text(unix.NFTA_CHAIN_TABLE, table)
	b.text(unix.NFTA_CHAIN_NAME, c.name)
	if c.hook != nil {
		h := b.nest(unix.NFTA_CHAIN_HOOK)
		b.number(unix.NFTA_HOOK_HOOKNUM, c.hook.number)
		b.number(unix.NFTA_HOOK_PRIORITY, uint32(c.hook.priority))
		b.unnest(h)
		b.number(unix.NFTA_CHAIN_POLICY, 1) // NF_ACCEPT
		b.text(unix.NFTA_CHAIN_TYPE, c.hook.kind)
	}
	b.end(at)
}

// fill adds the rules of a chain. ids counts anonymous sets.
func (b *batch) fill(table string, c chain, ids *uint32) error {
	for _, r := range c.rules {
		es := make([]expr.Any, len(r.exprs))
		copy(es, r.exprs)
		for i, s := range r.sets {
			*ids++
			s.name = "__map%d"
			b.addSet(table, s, *ids)
			b.constants(table, s, *ids)
			for j, e := range es {
				if l, ok := e.(*expr.Lookup); ok && l.SetName == fmt.Sprintf("#%d", i) {
					named := *l
					named.SetName, named.SetID = s.name, *ids
					es[j] = &named
				}
			}
		}
		at := b.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, "rule of chain "+c.name)
		b.text(unix.NFTA_RULE_TABLE, table)
		b.text(unix.NFTA_RULE_CHAIN, c.name)
		if err := b.expressions(es); err != nil {
			return fmt.Errorf("chain %s: %w", c.name, err)
		}
		if r.comment != "" {
			b.bytes(unix.NFTA_RULE_USERDATA, appendComment(nil, r.comment))
		}
		b.end(at)
	}
	return nil
}

// constants writes the elements that a set is made with.
func (b *batch) constants(table string, s set, id uint32) {
	if len(s.elements) == 0 {
		return
	}
	at := b.message(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, "elements of a map of verdicts")
	b.text(unix.NFTA_SET_ELEM_LIST_TABLE, table)
	b.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
	b.number(unix.NFTA_SET_ELEM_LIST_SET_ID, id)
	list := b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	for _, e := range s.elements {
		one := b.nest(unix.NFTA_LIST_ELEM)
		key := b.nest(unix.NFTA_SET_ELEM_KEY)
		b.bytes(unix.NFTA_DATA_VALUE, e.key)
		b.unnest(key)
		data := b.nest(unix.NFTA_SET_ELEM_DATA)
		v := b.nest(unix.NFTA_DATA_VERDICT)
		if e.goTo == "drop" {
			b.number(unix.NFTA_VERDICT_CODE, 0)
		} else {
			code := expr.VerdictGoto
			b.number(unix.NFTA_VERDICT_CODE, uint32(code))
			b.text(unix.NFTA_VERDICT_CHAIN, e.goTo)
		}
		b.unnest(v)
		b.unnest(data)
		b.unnest(one)
	}
	b.unnest(list)
	b.end(at)
}
