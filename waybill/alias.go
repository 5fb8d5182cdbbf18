package waybill

import "strings"

// check judges an alias as a name of its kind.
func (a Alias) check(where pointer) error {
	ok := false
	switch a.Kind {
	case KindCID:
		ok = isCID(a.Value)
	case KindBTIH:
		ok = len(a.Value) == 40 && isHex(a.Value)
	case KindBTMH:
		encoded, found := strings.CutPrefix(a.Value, "1220")
		ok = found && len(encoded) == 64 && isHex(encoded)
	default:
		return errorf(ErrUnknown, where, "kind %q is unknown; the alias is ignored", a.Kind)
	}
	if !ok {
		return errorf(ErrRefused, where.at("value"), "%q isn't a %s", clip(a.Value), a.Kind)
	}
	return nil
}

const (
	base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
)

// isCID reports whether s has the form of a CID: version 0 in base58, or version
// 1 in the base32 that URIs can hold. What it says is for others to decode.
func isCID(s string) bool {
	if len(s) == 46 && strings.HasPrefix(s, "Qm") {
		return strings.Trim(s, base58Alphabet) == ""
	}
	encoded, ok := strings.CutPrefix(s, "b")
	return ok && len(encoded) >= 16 && len(encoded) <= 256 && strings.Trim(encoded, base32Alphabet) == ""
}

// isHex reports whether s is lower-case hex digits.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
