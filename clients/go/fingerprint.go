package runwright

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// PackageFingerprint gives `sha256:FORMAT:HEX` of a valid package, as it stands in its JSON file: what a
// run would be pinned to. It fails for a package that says no format this library knows, or that holds
// what has no canonical form. Whether it is valid otherwise [Client.ValidatePackage] says.
func PackageFingerprint(document []byte) (string, error) {
	canonical, format, err := canonicalPackage(document)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(append([]byte(format+"\x00"), canonical...))
	return "sha256:" + format + ":" + hex.EncodeToString(digest[:]), nil
}

// PackageCanonical gives the canonical form of a valid package, RFC 8785: what its fingerprint is made of.
func PackageCanonical(document []byte) ([]byte, error) {
	canonical, _, err := canonicalPackage(document)
	return canonical, err
}

type fieldForm struct {
	Default   json.RawMessage `json:"default"`
	DefaultIs *struct {
		Field  string `json:"field"`
		Equals string `json:"equals"`
	} `json:"default_is"`
	Part     string `json:"part"`
	ListOf   string `json:"list_of"`
	MapOf    string `json:"map_of"`
	SortedBy string `json:"sorted_by"`
	Younger  bool   `json:"younger"`
	Beside   bool   `json:"beside"`
	Whole    bool   `json:"whole"`
}

type formTable struct {
	SpelledOut string                          `json:"spelled_out"`
	LeftOut    string                          `json:"left_out"`
	Top        string                          `json:"top"`
	Parts      map[string]map[string]fieldForm `json:"parts"`
}

var packageTable = sync.OnceValue(func() *formTable {
	table := &formTable{}
	if err := json.Unmarshal([]byte(packageForm), table); err != nil {
		panic(err) // it is generated
	}
	return table
})

type object = map[string]any

// wholeNumber is one in quotes, as the server takes it, too.
var wholeNumber = regexp.MustCompile(`^\s*[+-]?[0-9]+(_[0-9]+)*(\.0+)?\s*$`)

func canonicalPackage(document []byte) ([]byte, string, error) {
	if !utf8.Valid(document) || hasHalfCharacter(document) {
		return nil, "", errors.New("runwright: a package must be UTF-8, without half a character")
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var whole object
	if err := decoder.Decode(&whole); err != nil {
		return nil, "", fmt.Errorf("runwright: no package in JSON: %w", err)
	}
	table := packageTable()
	format, _ := whole["format"].(string)
	if format != table.SpelledOut && format != table.LeftOut {
		return nil, "", fmt.Errorf("runwright: format must be %s or %s", table.SpelledOut, table.LeftOut)
	}
	spelled := table.spelled(whole, table.Top)
	pruned, err := table.pruned(spelled, table.Top, format == table.LeftOut)
	if err != nil {
		return nil, "", err
	}
	var canonical bytes.Buffer
	err = writeCanonical(&canonical, pruned)
	return canonical.Bytes(), format, err
}

// defaultOf gives what a field is when it is left out; false when it must be there.
func (f fieldForm) defaultOf(beside object) (any, bool) {
	if f.DefaultIs != nil {
		return beside[f.DefaultIs.Field] == f.DefaultIs.Equals, true
	}
	if f.Default == nil {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(f.Default))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		panic(err) // it is generated
	}
	return value, true
}

// spelled gives a part with all its defaults, lists without a meaningful order sorted.
func (t *formTable) spelled(value any, part string) any {
	given, ok := value.(object)
	if !ok {
		return value
	}
	found := object{}
	for name, inner := range given {
		if inner != nil {
			found[name] = inner
		}
	}
	for name, form := range t.Parts[part] {
		if form.Beside {
			delete(found, name)
			continue
		}
		if _, there := found[name]; !there {
			value, has := form.defaultOf(found)
			if !has {
				continue
			}
			found[name] = value
		}
		if text, isText := found[name].(string); isText && form.Whole && wholeNumber.MatchString(text) {
			text, _, _ = strings.Cut(strings.ReplaceAll(strings.TrimSpace(text), "_", ""), ".")
			found[name] = json.Number(text)
		}
		if form.Part != "" {
			found[name] = t.spelled(found[name], form.Part)
		}
		if named, isMap := found[name].(object); form.MapOf != "" && isMap {
			all := object{}
			for key, one := range named {
				all[key] = t.spelled(one, form.MapOf)
			}
			found[name] = all
		}
		list, isList := found[name].([]any)
		if form.ListOf == "" || !isList {
			continue
		}
		all := make([]any, len(list))
		for index, one := range list {
			all[index] = t.spelled(one, form.ListOf)
		}
		if by := form.SortedBy; by != "" {
			slices.SortStableFunc(all, func(a, b any) int { return strings.Compare(textOf(a, by), textOf(b, by)) })
		}
		found[name] = all
	}
	return found
}

func textOf(value any, name string) string {
	fields, _ := value.(object)
	text, _ := fields[name].(string)
	return text
}

// pruned leaves out what is as it is by default: everywhere, or only where the field is younger than the format.
func (t *formTable) pruned(value any, part string, everywhere bool) (any, error) {
	whole, ok := value.(object)
	if !ok {
		return value, nil
	}
	left := object{}
	for name, inner := range whole {
		form := t.Parts[part][name]
		if everywhere || form.Younger {
			usual, has := form.defaultOf(whole)
			same, err := equalForms(inner, usual)
			if err != nil {
				return nil, err
			}
			if has && same {
				continue
			}
		}
		var err error
		if inner, err = t.prunedField(inner, form, everywhere); err != nil {
			return nil, err
		}
		left[name] = inner
	}
	return left, nil
}

func (t *formTable) prunedField(value any, form fieldForm, everywhere bool) (any, error) {
	if form.Part != "" {
		return t.pruned(value, form.Part, everywhere)
	}
	if named, isMap := value.(object); form.MapOf != "" && isMap {
		all := object{}
		for key, one := range named {
			pruned, err := t.pruned(one, form.MapOf, everywhere)
			if err != nil {
				return nil, err
			}
			all[key] = pruned
		}
		return all, nil
	}
	list, isList := value.([]any)
	if form.ListOf == "" || !isList {
		return value, nil
	}
	all := make([]any, len(list))
	for index, one := range list {
		pruned, err := t.pruned(one, form.ListOf, everywhere)
		if err != nil {
			return nil, err
		}
		all[index] = pruned
	}
	return all, nil
}

// hasHalfCharacter tells whether JSON has one half of a surrogate pair without the other, in place of which the decoder
// would put U+FFFD.
func hasHalfCharacter(document []byte) bool {
	half := func(at int) (rune, bool) {
		if at+6 > len(document) || document[at] != '\\' || document[at+1] != 'u' {
			return 0, false
		}
		unit, err := strconv.ParseUint(string(document[at+2:at+6]), 16, 16)
		return rune(unit), err == nil && utf16.IsSurrogate(rune(unit))
	}
	for at := 0; at < len(document); at++ {
		if document[at] != '\\' {
			continue
		}
		if first, isHalf := half(at); isHalf {
			second, follows := half(at + 6)
			if !follows || utf16.DecodeRune(first, second) == utf8.RuneError {
				return true
			}
			at += 10
		}
		at++
	}
	return false
}

func equalForms(first, second any) (bool, error) {
	var one, other bytes.Buffer
	err := errors.Join(writeCanonical(&one, first), writeCanonical(&other, second))
	return bytes.Equal(one.Bytes(), other.Bytes()), err
}

// writeCanonical writes JSON as RFC 8785 has it.
func writeCanonical(out *bytes.Buffer, value any) error {
	switch value := value.(type) {
	case nil:
		out.WriteString("null")
	case bool:
		out.WriteString(strconv.FormatBool(value))
	case string:
		writeText(out, value)
	case json.Number:
		return writeNumber(out, value)
	case []any:
		for index, inner := range value {
			out.WriteByte("[,"[min(index, 1)])
			if err := writeCanonical(out, inner); err != nil {
				return err
			}
		}
		if len(value) == 0 {
			out.WriteByte('[')
		}
		out.WriteByte(']')
	case object:
		return writeObject(out, value)
	}
	return nil
}

func writeObject(out *bytes.Buffer, value object) error {
	names := make([]string, 0, len(value))
	for name := range value {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	out.WriteByte('{')
	for index, name := range names {
		if index > 0 {
			out.WriteByte(',')
		}
		writeText(out, name)
		out.WriteByte(':')
		if err := writeCanonical(out, value[name]); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

func writeText(out *bytes.Buffer, text string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	out.WriteByte('"')
	for _, character := range text {
		switch escaped, known := short[character]; {
		case known:
			out.WriteString(escaped)
		case character < ' ':
			fmt.Fprintf(out, `\u%04x`, character)
		default:
			out.WriteRune(character)
		}
	}
	out.WriteByte('"')
}

// writeNumber writes as ECMAScript does, which RFC 8785 prescribes.
func writeNumber(out *bytes.Buffer, number json.Number) error {
	value, err := number.Float64()
	if err != nil || math.IsInf(value, 0) {
		return errors.New("runwright: a number that is not finite; write it as a text")
	}
	size := math.Abs(value)
	isWhole := value == math.Trunc(value) && size < 1e21
	whole, notWhole := number.Int64()
	if (isWhole && size > 1<<53-1) || (notWhole == nil && (whole > 1<<53-1 || whole < -(1<<53-1))) {
		return errors.New("runwright: a number beyond 2^53; write it as a text")
	}
	switch {
	case value == 0:
		out.WriteByte('0')
	case size >= 1e21 || size < 1e-6:
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(value, 'e', -1, 64), "e")
		out.WriteString(mantissa + "e" + exponent[:1] + strings.TrimLeft(exponent[1:], "0"))
	default:
		out.WriteString(strconv.FormatFloat(value, 'f', -1, 64))
	}
	return nil
}
